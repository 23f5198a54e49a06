"""Rows in plain JSON → values by column or by position, and answers → `{"predictions": …}`.

What KServe's protocol V1 and MLflow's scoring server read and write, and rows as they are.

Columns go by name. What could be misread is refused: a name that comes twice, rows whose columns differ, names for a
model that knows none.
"""

import base64
import json
from collections.abc import Mapping, Sequence
from typing import Any, cast

import msgspec
import numpy as np

from argosy.protocol.jsondata import WINDOW
from argosy.protocol.large import STRING
from argosy.protocol.rest import Response
from argosy.spec.errors import InvalidArgument, PayloadTooLarge
from argosy.spec.signature import Signature, TensorSpec
from argosy.spec.tensor import Array, Tensor, bf16_to_fp32

MOST = 4 * 1024 * 1024
"""Bytes of a body. Its values become objects of Python, which take up to fifty times as much."""
V1 = ("instances", "inputs")
"""The keys of KServe's protocol V1."""
MLFLOW = (*V1, "dataframe_split", "dataframe_records")
"""The keys of MLflow's scoring server, which may also be left out."""
ANY = (*MLFLOW, "input_data")
"""Those, and that of Azure ML: a data frame in split form, or rows."""
Values = dict[str, list[Any]] | list[Any]
"""Values by column, or rows whose values go by position."""

_decode = msgspec.json.Decoder().decode
_encode = msgspec.json.Encoder().encode


class _Split(msgspec.Struct, forbid_unknown_fields=True):
    """A data frame as pandas writes it with `orient="split"`."""

    columns: list[str | int | float | bool]
    data: list[list[Any]]
    index: list[Any] | None = None


def decode(body: bytes, signature: Signature, keys: tuple[str, ...], most: int = MOST) -> Values:
    """Body of at most `most` bytes → values for `packaging.rows.to_tensors`. `keys`: those that the protocol has.
    Raises InvalidArgument, PayloadTooLarge."""
    check_size(body, most)
    value, inputs = _json(body), signature.inputs
    if not signature.batched:
        return _whole(value, keys)
    names = {column for spec in inputs for column in (spec.name, *spec.columns)}
    found = _rows_of(value, names, keys, inputs)
    if not isinstance(found, dict):
        return found
    if len(inputs) == 1 and len(inputs[0].shape) > 1 and not inputs[0].columns and found.keys() != {inputs[0].name}:
        raise InvalidArgument(
            f"the rows name columns, and the model knows no names of columns, so their order cannot be checked: send "
            f'lists, {{"instances": [[…]]}}, or push the model with a sample that names them '
            f"(its one input is '{inputs[0].name}')"
        )
    return {name: [_plain(value) for value in values] for name, values in found.items()}


def check_size(body: bytes, most: int = MOST) -> None:
    """Raise PayloadTooLarge for more than is taken as rows."""
    if len(body) > most:
        raise PayloadTooLarge(
            f"the rows have {len(body)} bytes; at most {most} are taken: send them in parts, as binary tensors to "
            "/v2/models/NAME/infer, or as a batch job"
        )


def encode(response: Response, signature: Signature) -> bytearray:
    """Response → body. The labels of a classifier are its predictions, as `predict` of its library has them; several
    outputs are objects by name."""
    specs = {spec.name: spec for spec in signature.outputs}
    chosen = [tensor for tensor in response.tensors if is_label(specs[tensor.name])][:1]
    tensors = chosen or response.tensors
    classes = specs[chosen[0].name].classes if chosen else ()
    if not signature.batched:
        values = {tensor.name: _values(tensor, tensor.array, classes) for tensor in tensors}
        return bytearray(_encode({"predictions": values if len(values) > 1 else next(iter(values.values()))}))
    text = bytearray(b'{"predictions":[')
    rows = len(tensors[0].array)
    step = max(1, WINDOW * rows // max(1, sum(tensor.array.size for tensor in tensors)))
    for start in range(0, rows, step):
        parts = {tensor.name: _values(tensor, tensor.array[start : start + step], classes) for tensor in tensors}
        items = [dict(zip(parts, row, strict=True)) for row in zip(*parts.values(), strict=True)]
        text += memoryview(_encode(items if len(parts) > 1 else next(iter(parts.values()))))[1:-1]
        text += b","
    text[-1 if rows else len(text) :] = b"]}"
    return text


def first_row(inputs: Sequence[Tensor], batched: bool) -> list[Tensor]:
    """The first row of a model's inputs, short to read: floats with six significant digits."""
    found: list[Tensor] = []
    for tensor in inputs:
        array = tensor.array[:1] if batched else tensor.array
        if array.dtype.kind == "f":
            values = [float(f"{value:.6g}") for value in array.reshape(-1).tolist()]
            array = np.array(values, "f8").reshape(array.shape)
        found.append(Tensor(tensor.name, tensor.datatype, array))
    return found


def record(inputs: Sequence[Tensor], signature: Signature) -> dict[str, Any]:
    """`first_row` as an object that `decode` takes; a missing number is None. Raises InvalidArgument for bytes that
    are no text, and where there are no rows."""
    columns = {spec.name: spec.columns for spec in signature.inputs}
    row: dict[str, Any] = {}
    for tensor in first_row(inputs, signature.batched):
        if signature.batched and not len(tensor.array):
            raise InvalidArgument("there is no row")
        value = _values(tensor, tensor.array if signature.batched else tensor.array[None])[0]
        row |= dict(zip(columns[tensor.name], value, strict=True)) if columns[tensor.name] else {tensor.name: value}
    return row


def is_label(spec: TensorSpec) -> bool:
    """Whether an output is what a classifier says: numbers of classes that have names, too."""
    return spec.semantic == "label" or spec.name == "label" or (len(spec.shape) == 1 and bool(spec.classes))


def _values(tensor: Tensor, array: Array, classes: Sequence[str] = ()) -> list[Any]:
    """An array as nested lists, whole numbers as the names of `classes` that they count; NaN and infinities become null
    in JSON."""
    if classes and array.dtype.kind in "iu" and array.size and array.min() >= 0 and array.max() < len(classes):
        return np.array(classes, object)[array].tolist()
    if tensor.datatype == "BF16":
        return bf16_to_fp32(array).tolist()
    if tensor.datatype != "BYTES":
        return array.tolist()
    try:
        texts = np.array([value.decode() for value in array.reshape(-1).tolist()] or [""], object)
    except UnicodeDecodeError:
        raise InvalidArgument(
            f"output '{tensor.name}' holds bytes that are no UTF-8 text; ask /v2/models/NAME/infer for binary_data"
        ) from None
    return texts[: array.size].reshape(array.shape).tolist()


def _json(body: bytes) -> Any:
    """The value of a JSON text in which no object has a key twice. Python's writers, MLflow's client too, have NaN and
    Infinity beside."""
    if not body.strip():
        raise InvalidArgument("the request body is empty; it holds rows as JSON")
    try:
        if b"NaN" in body or b"Infinity" in body:
            return json.loads(body, object_pairs_hook=_object)
        value = _decode(body)
        keys = STRING.sub(b"", body).count(b":")
        if keys and keys != _keys(value):
            json.loads(body, object_pairs_hook=_object)
    except (msgspec.DecodeError, ValueError) as error:
        raise InvalidArgument(f"the request body is not valid JSON: {error}") from None
    except RecursionError:
        raise InvalidArgument("the request body is nested too deep") from None
    return value


def _keys(value: Any) -> int:
    """The keys of all objects in a value, each as often as it stands there."""
    if isinstance(value, dict):
        found = cast("dict[str, Any]", value)
        return len(found) + sum(_keys(each) for each in found.values() if isinstance(each, dict | list))
    items = cast("list[Any]", value if isinstance(value, list) else [])
    return sum(_keys(each) for each in items if isinstance(each, dict | list))


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        _refuse_doubled([name for name, _ in pairs])
    return found


def _refuse_doubled(names: Sequence[str]) -> None:
    known: set[str] = set()
    if (doubled := next((name for name in names if name in known or known.add(name)), None)) is not None:
        raise InvalidArgument(f"the column '{doubled[:80]}' comes twice; each may come once")


def _rows_of(value: Any, names: set[str], keys: tuple[str, ...], inputs: tuple[TensorSpec, ...]) -> Values:
    """The rows of a body, whichever form it has."""
    bare = keys is not V1
    if isinstance(value, dict):
        outer = cast("dict[str, Any]", value)
        given = [key for key in keys if key in outer]
        if bare and (not given or outer.keys() <= names):
            return _bare(outer, names, keys, inputs)
        for name in ("params", "parameters"):  # what clients of MLflow and of Vertex AI send without any
            if name not in names and not outer.get(name, True):
                del outer[name]
        if len(given) != 1 or len(outer) > 1:
            shown = ", ".join(f"'{key[:80]}'" for key in list(outer)[:12])
            raise InvalidArgument(f"the request has {shown or 'no key'}; it must have one of {', '.join(keys)} alone")
        return _of_key(given[0], outer[given[0]], inputs)
    if isinstance(value, list) and bare:
        return _listed(cast("list[Any]", value), inputs)
    forms = f"an object with one of {', '.join(keys)}" + (", a list of rows, or one row as an object" if bare else "")
    raise InvalidArgument(f"the request body must be {forms}")


def _bare(row: dict[str, Any], names: set[str], keys: tuple[str, ...], inputs: tuple[TensorSpec, ...]) -> Values:
    """One row as an object, or, where no value can be a list, lists by column."""
    if not row.keys() & names and (len(row) > 1 or len(inputs) != 1 or inputs[0].columns):
        shown = ", ".join(f"'{key[:80]}'" for key in list(row)[:12])
        raise InvalidArgument(
            f"the request has {shown or 'no key'}: no column of the model, and none of {', '.join(keys)}; "
            "send a list of rows as objects by column, or a data frame in pandas' split form as 'dataframe_split'"
        )
    single = all(spec.columns or len(spec.shape) == 1 for spec in inputs)
    return _of_key("inputs", row, inputs) if single else _records([row])


def _whole(value: Any, keys: tuple[str, ...]) -> Values:
    """Arrays by input name, or the one input's, of a model whose inputs have no rows."""
    outer = cast("dict[str, Any]", value if isinstance(value, dict) else {})
    if len(outer) == 1 and (key := next(iter(outer))) in keys:
        value = outer[key]
    if not isinstance(value, dict | list):
        raise InvalidArgument("the request body must hold an array, or an object with one for each input")
    return cast("Values", value)


def _of_key(key: str, value: Any, inputs: tuple[TensorSpec, ...]) -> Values:
    if key == "dataframe_split" or (key == "input_data" and isinstance(value, dict)):
        return _split(value, inputs)
    if key == "inputs" and isinstance(value, dict):
        columns = cast("dict[str, Any]", value)
        if columns and not any(isinstance(each, list) for each in columns.values()):
            return _records([columns])
        if not all(isinstance(each, list) for each in columns.values()):
            raise InvalidArgument("an object of 'inputs' must hold a list for each column, or one value for each")
        return columns
    if not isinstance(value, list):
        raise InvalidArgument(f"'{key}' must be a list of rows, not {type(value).__name__}")
    items = cast("list[Any]", value)
    if key == "dataframe_records" and not all(isinstance(row, dict) for row in items):
        raise InvalidArgument("'dataframe_records' must be a list of objects by column name")
    return _listed(items, inputs)


def _listed(items: list[Any], inputs: tuple[TensorSpec, ...]) -> Values:
    if not items:
        raise InvalidArgument("the request holds no rows")
    objects = [isinstance(row, dict) and row.keys() != {"b64"} for row in items]
    if all(objects):
        return _records(items)
    if any(objects):
        raise InvalidArgument("some rows are objects by column name and some are not")
    if len(inputs) == 1:
        return [_plain(item) for item in items]
    return _by_position(items, [spec.name for spec in inputs], "the model's inputs")


def _by_position(rows: Sequence[Any], names: list[str], what: str) -> dict[str, list[Any]]:
    for number, row in enumerate(rows):
        if not isinstance(row, list) or len(cast("list[Any]", row)) != len(names):
            shown = ", ".join(names[:12]) + (", …" if len(names) > 12 else "")
            raise InvalidArgument(f"row {number} is no list of {len(names)} values, which are {what}: {shown}")
    return {name: list(values) for name, values in zip(names, zip(*rows, strict=True), strict=True)}


def _records(rows: Sequence[Mapping[str, Any]]) -> dict[str, list[Any]]:
    """Columns of objects that have the same keys, in whatever order."""
    rows = [each for row in rows for each in _of_series(row)]
    first = rows[0].keys()
    for number, row in enumerate(rows):
        if row.keys() != first:
            name = min(first ^ row.keys())
            where = f"row {number}" if name in first else "row 0"
            raise InvalidArgument(f"{where} lacks the column '{name[:80]}' of other rows; a missing value is null")
    return {name: [row[name] for row in rows] for name in first}


def _of_series(row: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """A row as it is; or rows of a small data frame, `{column: {index: value}}`, as KServe's documentation sends it."""
    values = [cast("dict[str, Any]", value) for value in row.values() if isinstance(value, dict)]
    if not values or len(values) < len(row) or any(value.keys() in (set(), {"b64"}) for value in values):
        return [row]
    if any(value.keys() != values[0].keys() for value in values):
        raise InvalidArgument("the columns of a row that are objects by index must have the same indices")
    return [{name: value[index] for name, value in row.items()} for index in values[0]]


def _split(value: Any, inputs: tuple[TensorSpec, ...]) -> Values:
    try:
        frame = msgspec.convert(value, _Split)
    except msgspec.ValidationError as error:
        raise InvalidArgument(f"'dataframe_split' must be an object with 'columns' and 'data': {error}") from None
    names = [str(name) for name in frame.columns]
    _refuse_doubled(names)
    if not frame.data:
        raise InvalidArgument("'dataframe_split' holds no rows")
    found = _by_position(frame.data, names, "the columns")
    unnamed = len(inputs) == 1 and not inputs[0].columns and frame.columns == list(range(len(names)))
    return list(frame.data) if unnamed else found


def _plain(value: Any) -> Any:
    """A value; of an object `{"b64": …}`, as TensorFlow Serving has it, its bytes."""
    if not isinstance(value, dict):
        return value
    item = cast("dict[str, Any]", value)
    if item.keys() == {"b64"} and isinstance(item["b64"], str):
        try:
            return base64.b64decode(item["b64"], validate=True)
        except ValueError as error:
            raise InvalidArgument(f"a value of 'b64' is no base64: {error}") from None
    raise InvalidArgument("a value of a row is an object; it must be a number, a text, true, false, null or a list")
