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
"""Of an input that is made up."""
E = TypeVar("E", bound=Engine)


def shape_of(spec: TensorSpec, rows: int, free: int) -> tuple[int, ...]:
    """The shape with `rows` for a free axis 0, and `free` for other free axes."""
    return tuple(axis if axis >= 0 else (free if place else rows) for place, axis in enumerate(spec.shape))


def made(spec: TensorSpec, rows: int, free: int) -> Array:
    """Rows of an input: floats around zero, small integers (they may be indices), short strings; a category, of which
    only the model knows the values, is missing. The same arguments give the same array."""
    random = np.random.default_rng([len(spec.shape), *spec.name.encode()])
    shape = shape_of(spec, rows, free)
    if spec.semantic == "categorical" and spec.datatype in ("BYTES", "FP64"):
        return np.full(shape, b"" if spec.datatype == "BYTES" else np.nan, NUMPY[spec.datatype])
    if spec.datatype == "BYTES":
        words = np.array([b"a", b"b", b"text", b"0"], dtype=object)
        return np.asarray(words[random.integers(0, len(words), shape)], object).reshape(shape)
    if spec.datatype == "BF16":
        return np.asarray(random.standard_normal(shape).astype("<f4").view("<u4") >> 16, "<u2")
    dtype = NUMPY[spec.datatype]
    if dtype.kind == "f":
        return random.standard_normal(shape).astype(dtype)
    return random.integers(0, 256 if spec.datatype == "UINT8" else 2, shape).astype(dtype)


def examples(inputs: Sequence[TensorSpec], rows: int = 2, free: int = 4) -> dict[str, Array]:
    """`made` for each input that must be given. Raises InvalidArgument where one is too large to try the model on."""
    for spec in inputs:
        if np.prod(shape_of(spec, rows, free), dtype=np.float64) > MAX_ELEMENTS:
            raise InvalidArgument(f"input '{spec.name}' of shape {list(spec.shape)} is too large to try the model on")
    return {spec.name: made(spec, rows, free) for spec in inputs if not spec.optional}


def complete(
    inputs: tuple[TensorSpec, ...],
    run: Callable[[Mapping[str, Array]], Mapping[str, Array]],
    sample: Mapping[str, Array] | None = None,
) -> Signature:
    """The signature of a model whose inputs are known: its outputs are what it gives for the sample (or made-up rows).
    Raises InvalidArgument where the model refuses them."""
    given = sample if sample is not None else examples(inputs)
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


def settled(
    make: Callable[[Signature], E], given: Signature | None, derived: Signature, model: str, *, named: bool = True
) -> E:
    """The engine under the signature it is given, or else under the one that is `derived` from the file: with batches
    only if its rows are independent. Raises BadPackage where the given one is not that of the `model`."""
    if given is not None and given.outputs:
        check_signature(given, derived, model, named=named)
        return make(given)
    engine = make(derived)
    if named and derived.batched and not rows_independent(engine):
        return make(msgspec.structs.replace(derived, batched=False))
    return engine


def rows_independent(engine: Engine) -> bool:
    """Whether two rows answered together are what they are alone. True where the model refuses made-up rows. A model
    whose first axis is not a batch (time, a set, a batch norm in training mode) must not have requests merged."""
    try:
        together = examples(engine.signature.inputs)
        first, second = (
            engine.predict({name: array[place : place + 1] for name, array in together.items()}) for place in (0, 1)
        )
        merged = engine.predict(together)
    except ArgosyError:
        return True
    return all(same(got, one, two) for got, one, two in zip(merged, first, second, strict=True))


def same(got: Array, one: Array, two: Array) -> bool:
    """Whether the answer of two rows is that of each alone, within the rounding of other kernels."""
    if one.shape[:1] != (1,) or two.shape[:1] != (1,) or got.shape != (2, *one.shape[1:]) or one.shape != two.shape:
        return False
    want = np.concatenate([one, two])
    if got.dtype.kind != "f":
        return bool((got == want).all())
    return bool(np.allclose(got, want, rtol=1e-2, atol=1e-3, equal_nan=True))
