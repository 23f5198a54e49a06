"""A model whose inputs, outputs and classes have other names outside than in its file."""

from collections.abc import Mapping, Sequence

import msgspec

from argosy.engines.base import Engine
from argosy.spec.errors import InvalidArgument
from argosy.spec.signature import Signature, TensorSpec
from argosy.spec.strict import repeated
from argosy.spec.tensor import Array


class Renamed(Engine):
    """An engine under a signature that names the tensors of the model by their `source`."""

    def __init__(self, engine: Engine, signature: Signature) -> None:
        self.signature = signature
        self.releases_gil, self.parallel = engine.releases_gil, engine.parallel
        self._engine = engine
        self._names = {spec.name: spec.source or spec.name for spec in signature.inputs}

    def predict(self, inputs: Mapping[str, Array]) -> list[Array]:
        return self._engine.predict({self._names[name]: array for name, array in inputs.items()})

    def more(self, inputs: Mapping[str, Array], names: Sequence[str]) -> list[Array]:
        return self._engine.more({self._names[name]: array for name, array in inputs.items()}, names)

    def close(self) -> None:
        """Give back what the model holds."""
        self._engine.close()


def own(signature: Signature) -> Signature:
    """The signature in the names that the model's file has."""
    inputs, outputs = (
        tuple(msgspec.structs.replace(spec, name=spec.source or spec.name, source="") for spec in side)
        for side in (signature.inputs, signature.outputs)
    )
    return msgspec.structs.replace(signature, inputs=inputs, outputs=outputs)


def rename(signature: Signature, inputs: Sequence[str], outputs: Sequence[str]) -> Signature:
    """The signature with these names, in its order; none: as they are. Raises InvalidArgument for too many or few."""
    return msgspec.structs.replace(
        signature,
        inputs=_named(signature.inputs, inputs, "input"),
        outputs=_named(signature.outputs, outputs, "output"),
    )


def _named(specs: tuple[TensorSpec, ...], names: Sequence[str], side: str) -> tuple[TensorSpec, ...]:
    if not names:
        return specs
    if len(names) != len(specs):
        known = ", ".join(spec.name for spec in specs)
        raise InvalidArgument(
            f"{len(names)} names for the {len(specs)} {side}s of the model ({known}): give --{side}-name for each, in "
            "this order"
        )
    return tuple(
        spec if spec.name == name else msgspec.structs.replace(spec, name=name, source=spec.name)
        for spec, name in zip(specs, names, strict=True)
    )


def name_classes(signature: Signature, names: Sequence[str], answers: Mapping[str, Array]) -> Signature:
    """The signature with these names of classes: for scores with a column for each, and for labels that count them.

    `answers` are those of the golden examples, by output. Raises InvalidArgument where the numbers do not fit.
    """
    if not names:
        return signature
    if (double := repeated(names)) is not None or "" in names:
        raise InvalidArgument(f"the class '{(double or '')[:80]}' is named twice, or has no name")
    tables = [array for array in answers.values() if array.dtype.kind == "f" and array.shape[1:] not in ((), (1,))]
    outputs = tuple(_classified(spec, tuple(names), answers[spec.name]) for spec in signature.outputs)
    fits = any(array.shape[1:] == (len(names),) for array in tables) or not tables
    if outputs == signature.outputs or not fits:
        given = ", ".join(f"{spec.name} {spec.datatype} {[*answers[spec.name].shape[1:]]}" for spec in outputs)
        raise InvalidArgument(
            f"{len(names)} classes are named; for each row the model gives {given}: name as many as an output has "
            "columns, or, where there are only labels, as these count from 0"
        )
    return msgspec.structs.replace(signature, outputs=outputs)


def _classified(spec: TensorSpec, names: tuple[str, ...], array: Array) -> TensorSpec:
    if array.dtype.kind == "f" and array.shape[1:] == (len(names),):
        return msgspec.structs.replace(spec, classes=names, shape=(spec.shape[0], len(names)))
    if array.dtype.kind not in "iu" or array.ndim != 1:
        return spec
    if odd := [value for value in array.tolist() if not 0 <= value < len(names)]:
        raise InvalidArgument(f"output '{spec.name}' gives {odd[0]}, which none of {len(names)} classes has, from 0 on")
    return msgspec.structs.replace(spec, classes=names)
