"""JSON Schema of what a replica takes and answers: of the protocols, and of the rows of one model."""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from argosy.protocol.openai import MOST_TEXTS
from argosy.protocol.rows import is_label, record
from argosy.spec.errors import InvalidArgument
from argosy.spec.signature import Signature, TensorSpec
from argosy.spec.tensor import NUMPY, Tensor

Json = dict[str, Any]
_SCALAR = {"oneOf": [{"type": "string"}, {"type": "number"}, {"type": "boolean"}]}
_PARAMETERS = {"type": "object", "additionalProperties": _SCALAR}
_SHAPE = {"type": "array", "items": {"type": "integer"}}


def _object(required: list[str], **properties: Any) -> Json:
    return {"type": "object", "required": required, "properties": properties}


_TEXT = {"type": "string"}
_FLAG = {"type": "boolean"}
_LIST: Json = {"type": "array", "items": {}}
_TENSOR = _object(
    ["name", "shape", "datatype"], name=_TEXT, shape=_SHAPE, datatype=_TEXT, parameters=_PARAMETERS, data=_LIST
)
_METADATA = _object(["name", "datatype", "shape"], name=_TEXT, datatype=_TEXT, shape=_SHAPE)

SCHEMAS: Json = {
    "Error": _object(["error"], error=_TEXT),
    "Live": _object(["live"], live=_FLAG),
    "Ready": _object(["ready"], live=_FLAG, ready=_FLAG, name=_TEXT),
    "Server": _object(["name", "version", "extensions"], name=_TEXT, version=_TEXT, extensions=_LIST),
    "Model": _object(
        ["name", "platform", "inputs", "outputs"],
        name=_TEXT,
        platform=_TEXT,
        versions={"type": "array", "items": _TEXT},
        inputs={"type": "array", "items": _METADATA},
        outputs={"type": "array", "items": _METADATA},
    ),
    "InferRequest": _object(
        ["inputs"],
        id={"type": ["string", "null"]},
        model_name=_TEXT,
        model_version=_TEXT,
        parameters=_PARAMETERS,
        inputs={"type": "array", "minItems": 1, "items": _TENSOR},
        outputs={"type": "array", "items": _object(["name"], name=_TEXT, parameters=_PARAMETERS)},
    ),
    "InferResponse": _object(
        ["model_name", "outputs"],
        model_name=_TEXT,
        model_version=_TEXT,
        id=_TEXT,
        parameters=_PARAMETERS,
        outputs={"type": "array", "items": _TENSOR},
    ),
    "Config": _object(["name"], name=_TEXT),
    "Statistics": _object(["model_stats"], model_stats=_LIST),
    "Index": {"type": "array", "items": _object(["name", "state"], name=_TEXT, state=_TEXT)},
    "EmbeddingsRequest": _object(
        ["input"],
        input={"anyOf": [_TEXT, {"type": "array", "minItems": 1, "maxItems": MOST_TEXTS, "items": _TEXT}]},
        model=_TEXT,
        encoding_format={"enum": ["float", "base64"]},
        dimensions={"type": "integer"},
        truncate=_FLAG,
    ),
    "Embeddings": _object(["object", "data", "model", "usage"], data=_LIST, model=_TEXT, usage={"type": "object"}),
    "RerankRequest": _object(
        ["query", "documents"],
        query=_TEXT,
        documents={"type": "array", "minItems": 1, "maxItems": MOST_TEXTS, "items": _TEXT},
        model=_TEXT,
        top_n={"type": "integer", "minimum": 1},
        return_documents=_FLAG,
        truncate=_FLAG,
    ),
    "Ranking": _object(["results", "model", "usage"], results=_LIST, model=_TEXT, usage={"type": "object"}),
    "Empty": {"type": "object"},
    "Names": _object(["models"], models={"type": "array", "items": _TEXT}),
    "Row": {"type": "object", "minProperties": 1},
    "Values": {"type": "array"},
    "Predictions": _object(["predictions"], predictions={}),
}


def _ref(name: str) -> Json:
    return {"$ref": f"#/components/schemas/{name}"}


def _list(items: Json) -> Json:
    return {"type": "array", "minItems": 1, "items": items}


_ROWS = {"anyOf": [_list(_ref("Row")), _list(_ref("Values"))]}
_SPLIT = {
    **_object(["columns", "data"], columns=_list({"type": ["string", "integer"]}), index=_LIST, data=_list(_LIST)),
    "additionalProperties": False,
}
_BY_KEY = {
    "instances": _ROWS,
    "inputs": {"anyOf": [*_ROWS["anyOf"], {"type": "object"}]},
    "dataframe_split": _SPLIT,
    "dataframe_records": _list(_ref("Row")),
}


def _keyed(*keys: str) -> list[Json]:
    return [{**_object([key], **{key: _BY_KEY[key]}), "additionalProperties": False} for key in keys]


SCHEMAS["PredictRequest"] = {"oneOf": _keyed("instances", "inputs")}
SCHEMAS["Invocation"] = {"anyOf": [*_keyed(*_BY_KEY), *_ROWS["anyOf"], _ref("Row")]}


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
