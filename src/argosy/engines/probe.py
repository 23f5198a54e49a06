"""Small inputs made from a signature: to see what a model gives, and whether its rows are independent."""

from collections.abc import Callable, Mapping, Sequence
from typing import TypeVar

import msgspec
import numpy as np

from argosy.engines.base import Engine, check_signature
from argosy.spec.errors import ArgosyError, InvalidArgument
from argosy.spec.signature import Signature, TensorSpec
from argosy.spec.tensor import NUMPY, Array, datatype_of

MAX_ELEMENTS = 1 << 24
E = TypeVar("E", bound=Engine)


def example(spec: TensorSpec, rows: int, seed: int = 0, free: int = 4) -> Array:
    """Values every model of this signature should stand: floats in [0, 1), integers 0 and 1, strings 'a' and 'b'.

    Axis 0, where free, gets `rows`; other free axes get `free`. The same arguments give the same array. Raises
    InvalidArgument where that would be more than 2²⁴ elements.
    """
    shape = tuple(axis if axis >= 0 else (free if place else rows) for place, axis in enumerate(spec.shape))
    if np.prod(shape, dtype=np.float64) > MAX_ELEMENTS:
        raise InvalidArgument(f"input '{spec.name}' of shape {list(spec.shape)} is too large to try the model on")
    random = np.random.default_rng([seed, *spec.name.encode()])
    if spec.datatype == "BYTES":
        return np.array([b"a", b"b"], dtype=object)[random.integers(0, 2, shape)].reshape(shape)
    if spec.datatype == "BF16":
        return (random.random(shape, dtype=np.float32).view(np.uint32) >> 16).astype(np.uint16)
    dtype = NUMPY[spec.datatype]
    return (random.random(shape) if dtype.kind == "f" else random.integers(0, 2, shape)).astype(dtype)


def examples(inputs: Sequence[TensorSpec], rows: int, seed: int = 0) -> dict[str, Array]:
    """`example` for each input that must be given."""
    return {spec.name: example(spec, rows, seed) for spec in inputs if not spec.optional}


def complete(
    inputs: tuple[TensorSpec, ...],
    run: Callable[[Mapping[str, Array]], Mapping[str, Array]],
    sample: Mapping[str, Array] | None = None,
) -> Signature:
    """The signature of a model whose inputs are known: its outputs are what it gives for the sample (or made-up rows).

    Raises InvalidArgument where the model refuses them.
    """
    given = sample if sample is not None else examples(inputs, rows=2)
    try:
        found = run(given)
    except ArgosyError as error:
        kind = "the sample" if sample is not None else "made-up rows (give a sample with --sample)"
        raise InvalidArgument(f"the model does not accept {kind}: {error.message}") from None
    rows = next(iter(given.values())).shape[:1]
    batched = all(spec.shape[:1] == (-1,) for spec in inputs) and all(a.shape[:1] == rows for a in found.values())
    shapes = {name: (-1, *array.shape[1:]) if batched else array.shape for name, array in found.items()}
    outputs = [TensorSpec(name=name, datatype=datatype_of(array), shape=shapes[name]) for name, array in found.items()]
    return Signature(inputs=inputs, outputs=tuple(outputs), batched=batched)


def settled(make: Callable[[Signature], E], given: Signature | None, derived: Signature, model: str) -> E:
    """The engine under the signature it is given, or else under the one that is `derived` from the file: with batches
    only if its rows are independent. Raises BadPackage where the given one is not that of the `model`."""
    if given is not None and given.outputs:
        check_signature(given, derived, model)
        return make(given)
    engine = make(derived)
    if derived.batched and not rows_independent(engine):
        return make(msgspec.structs.replace(derived, batched=False))
    return engine


def rows_independent(engine: Engine) -> bool:
    """Whether two rows answered together are what they are alone. True where the model refuses made-up rows.

    A model whose first axis is not a batch (time, a set, a batch norm in training mode) must not have requests merged.
    """
    try:
        alone = [examples(engine.signature.inputs, 1, seed) for seed in (1, 2)]
        together = {name: np.concatenate([one[name] for one in alone]) for name in alone[0]}
        apart = [engine.predict(one) for one in alone]
        merged = engine.predict(together)
    except ArgosyError:
        return True
    return all(_same(got, one, two) for got, one, two in zip(merged, *apart, strict=True))


def _same(got: Array, one: Array, two: Array) -> bool:
    if one.shape[:1] != (1,) or two.shape[:1] != (1,) or got.shape != (2, *one.shape[1:]) or one.shape != two.shape:
        return False
    want = np.concatenate([one, two])
    if got.dtype.kind != "f":
        return bool((got == want).all())
    return bool(np.allclose(got, want, rtol=1e-2, atol=1e-3, equal_nan=True))
