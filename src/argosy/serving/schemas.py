"""JSON Schema of what a replica takes and answers: of the protocols, and of the rows of one model."""

import math
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from argosy.protocol.rows import is_label, record
from argosy.spec.errors import InvalidArgument
from argosy.spec.signature import Signature, TensorSpec
from argosy.spec.tensor import NUMPY, Tensor

Json = dict[str, Any]


@cache
def fixed() -> Json:
    """The schemas of `schemas.yaml`, which are the same for every model."""
    import yaml

    found = yaml.safe_load(Path(__file__).with_suffix(".yaml").read_bytes())
    return {name: schema for name, schema in found.items() if not name.startswith("_")}


def of_model(signature: Signature) -> Json:
    """The schemas that a model makes more precise: its rows by column and by position, and its predictions."""
    columns: list[tuple[str, Json, bool]] = []
    for spec in signature.inputs:
        axes = spec.shape[1:] if signature.batched else spec.shape
        if spec.columns and len(axes) == 1:
            columns += [(name, _value(spec, ()), True) for name in spec.columns]
        else:
            columns.append((spec.name, _value(spec, axes), not spec.optional))
    row = _object([name for name, _, needed in columns if needed], **{name: kind for name, kind, _ in columns})
    only = len(signature.inputs) == 1 and not signature.inputs[0].columns
    places: Json = {"type": "array", "prefixItems": [kind for _, kind, _ in columns], "items": False}
    values = columns[0][1] if only else {**places, "minItems": len(columns)}
    predicted = _predicted(signature)
    predictions = {"type": "array", "items": predicted} if signature.batched else predicted
    return {
        "Row": {**row, "additionalProperties": False},
        "Values": values,
        "Predictions": _object(["predictions"], predictions=predictions),
    }


def _object(required: list[str], **properties: Any) -> Json:
    return {"type": "object", "required": required, "properties": properties}


def _predicted(signature: Signature) -> Json:
    """One prediction, as `protocol.rows.encode` writes it."""
    chosen = [spec for spec in signature.outputs if is_label(spec)][:1] or signature.outputs
    kinds = {spec.name: _value(spec, spec.shape[1:] if signature.batched else spec.shape, True) for spec in chosen}
    return _object(list(kinds), **kinds) if len(kinds) > 1 else next(iter(kinds.values()))


def _value(spec: TensorSpec, axes: Sequence[int], answered: bool = False) -> Json:
    """An element of a tensor, or nested lists of them along these axes. Any float that is answered may be null."""
    dtype = np.dtype("f4") if spec.datatype == "BF16" else NUMPY[spec.datatype]
    kind = {"f": "number", "b": "boolean", "O": "string"}.get(dtype.kind, "integer")
    nullable = spec.nullable or (answered and kind == "number")
    found: Json = {"type": [kind, "null"] if nullable else kind}
    if is_label(spec) and spec.classes and kind in ("integer", "string"):
        return _nested({"enum": list(spec.classes), "type": "string"}, axes)
    if kind == "integer":
        limits: Any = np.iinfo(dtype.str)
        found |= {"minimum": int(limits.min), "maximum": int(limits.max)}
    return _nested(found, axes)


def _nested(found: Json, axes: Sequence[int]) -> Json:
    for size in reversed(axes):
        bounds = {"minItems": size, "maxItems": size} if size >= 0 else {}
        found = {"type": "array", "items": found, **bounds}
    return found


def example_of(inputs: Sequence[Tensor], signature: Signature, most: int) -> Json | None:
    """One row as an object, if it has at most `most` elements and a form in JSON."""
    if not inputs or sum(math.prod(each.shape[signature.batched :]) for each in inputs) > most:
        return None
    try:
        return record(inputs, signature)
    except InvalidArgument:
        return None
