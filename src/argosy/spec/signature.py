"""Signatures: the named input and output tensors of a model."""

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Literal

import msgspec

from argosy.spec.errors import InvalidArgument

if TYPE_CHECKING:
    from argosy.spec.tensor import Tensor

DATATYPES = (
    *("BOOL", "UINT8", "UINT16", "UINT32", "UINT64", "INT8", "INT16", "INT32", "INT64", "FP16", "FP32", "FP64"),
    *("BYTES", "BF16"),
)
"""Those of the Open Inference Protocol v2. (What reads manifests alone does without numpy, and starts sooner.)"""
Semantic = Literal["", "number", "categorical", "text", "image", "label", "probability"]


class Domain(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """The values an input takes, where its engine would answer others as well: a converted model refuses what the
    original refuses, and a model that comes as an export a missing number, unless its sample has one. For each column
    of the last axis, or one entry for all.

    `gaps`: whether a value may be missing; `limits`: the largest magnitude, None where infinity may stand as well;
    `categories`: the only strings, if there are any.
    """

    gaps: tuple[bool, ...] = (True,)
    limits: tuple[float | None, ...] = (None,)
    categories: tuple[str, ...] = ()

    @property
    def safe(self) -> float:
        """Numbers whose sum of squares is not above it lie in the domain."""
        return min(math.inf if limit is None else min(limit, 1e150) for limit in self.limits) ** 2


class TensorSpec(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """One input or output: a name, a datatype, a shape with -1 for each free axis.

    `columns` names the features along the last axis of a tabular tensor, in order; `nullable` says that NaN (floats) or
    the empty string (BYTES) stands for a missing value; `optional` inputs may be left out of a request. `classes` are
    the names of a classifier's classes: along the last axis of its probabilities, or of the numbers 0, 1, … in a label.
    `source` is the name in the model's file, where that is another. `domain`: which values of an input the engine has
    to refuse.
    """

    name: str
    datatype: str
    shape: tuple[int, ...]
    columns: tuple[str, ...] = ()
    classes: tuple[str, ...] = ()
    semantic: Semantic = ""
    nullable: bool = False
    optional: bool = False
    source: str = ""
    domain: Domain | None = None

    def __post_init__(self) -> None:
        if self.datatype not in DATATYPES:
            raise InvalidArgument(f"tensor '{self.name}': '{self.datatype}' is none of {', '.join(DATATYPES)}")
        if any(axis < -1 for axis in self.shape):
            raise InvalidArgument(f"tensor '{self.name}': shape {list(self.shape)} has an axis below -1")
        if self.columns and (not self.shape or self.shape[-1] != len(self.columns)):
            raise InvalidArgument(f"tensor '{self.name}': {len(self.columns)} columns for shape {list(self.shape)}")
        if self.classes and len(self.shape) > 1 and self.shape[-1] != len(self.classes):
            raise InvalidArgument(f"tensor '{self.name}': {len(self.classes)} classes for shape {list(self.shape)}")

    def accepts(self, shape: tuple[int, ...]) -> bool:
        """Whether an array of this shape fits: same rank, and equal wherever an axis is not free."""
        return len(shape) == len(self.shape) and all(
            want in (-1, got) for want, got in zip(self.shape, shape, strict=True)
        )


class Signature(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """What a model takes and gives. `batched`: axis 0 of every input and output counts rows, which may be merged.
    `on_request`: further outputs, which are calculated where they are asked for by name."""

    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]
    batched: bool = msgspec.field(default_factory=lambda: True)  # a factory's value is written in every `model.yaml`
    on_request: tuple[TensorSpec, ...] = ()

    def __post_init__(self) -> None:
        for side, specs in (("input", self.inputs), ("output", self.every_output)):
            names = [spec.name for spec in specs]
            if len(set(names)) != len(names):
                raise InvalidArgument(f"signature: two {side}s share a name: {', '.join(names)}")
        if self.batched and any(not spec.shape or spec.shape[0] != -1 for spec in self.inputs):
            raise InvalidArgument("signature: a batched model needs a free first axis (-1) on every input")

    @property
    def every_output(self) -> tuple[TensorSpec, ...]:
        """The outputs that are always given, then those on request."""
        return (*self.outputs, *self.on_request)

    def chosen(self, names: Sequence[str]) -> tuple[TensorSpec, ...]:
        """The outputs of these names, in their order; all that are always given where there is no name. Raises
        InvalidArgument."""
        known = {spec.name: spec for spec in self.every_output}
        if unknown := [name for name in names if name not in known]:
            raise InvalidArgument(f"unknown output '{unknown[0][:80]}'; the model gives {', '.join(known)}")
        if len({*names}) < len(names):
            raise InvalidArgument("an output is asked for twice")
        return tuple(known[name] for name in names) or self.outputs


def check_inputs(signature: Signature, tensors: "list[Tensor]") -> None:
    """Raise InvalidArgument unless the tensors are the inputs of the signature: names, datatypes, shapes, rows."""
    given = {tensor.name: tensor for tensor in tensors}
    if len(given) != len(tensors):
        raise InvalidArgument("an input is given twice; each input may appear once")
    known = {spec.name for spec in signature.inputs}
    if unknown := [name for name in given if name not in known]:
        raise InvalidArgument(f"unknown input '{unknown[0]}'; the model takes {', '.join(sorted(known))}")
    for spec in signature.inputs:
        if (tensor := given.get(spec.name)) is not None:
            check_form(spec, tensor.datatype, tensor.shape)
        elif not spec.optional:
            raise InvalidArgument(f"input '{spec.name}' ({spec.datatype} {list(spec.shape)}) is missing")
    if signature.batched and len({tensor.shape[0] for tensor in tensors}) > 1:
        raise InvalidArgument("the inputs differ in their number of rows (axis 0)")


def check_form(spec: TensorSpec, datatype: str, shape: tuple[int, ...]) -> None:
    """Raise InvalidArgument unless datatype and shape are those that the signature declares."""
    if datatype != spec.datatype:
        raise InvalidArgument(f"input '{spec.name}' has datatype {datatype}; the model takes {spec.datatype}")
    if not spec.accepts(shape):
        raise InvalidArgument(
            f"input '{spec.name}' has shape {list(shape)}; the model takes {list(spec.shape)} (-1 is free)"
        )
