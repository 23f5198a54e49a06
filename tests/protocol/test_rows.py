"""Rows in JSON ↔ tensors: whatever the form and the order, the same values; what could be misread is refused."""

import contextlib
import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from argosy.packaging.rows import to_tensors
from argosy.protocol import rows
from argosy.protocol.rest import Response
from argosy.spec.errors import InvalidArgument, PayloadTooLarge
from argosy.spec.signature import Signature, TensorSpec
from argosy.spec.tensor import NUMPY, Tensor, tensor
from tests.protocol.strategies import same

ELEMENTS = {
    "FP64": st.floats(allow_nan=False, allow_infinity=False),
    "FP32": st.floats(width=32, allow_nan=False, allow_infinity=False),
    "INT64": st.integers(-(2**63), 2**63 - 1),
    "UINT8": st.integers(0, 255),
    "BOOL": st.booleans(),
    "BYTES": st.text(max_size=6),
}
NAMES = st.text(min_size=1, max_size=6).filter(lambda name: name not in (*rows.MLFLOW, "b64"))
WIDE = (TensorSpec(name="x", datatype="FP64", shape=(-1, 3), columns=("a", "b", "c")),)
UNNAMED = (TensorSpec(name="x", datatype="FP64", shape=(-1, 3)),)
TWO = (TensorSpec(name="age", datatype="FP64", shape=(-1,)), TensorSpec(name="job", datatype="BYTES", shape=(-1,)))


def of(inputs):
    return Signature(inputs=inputs, outputs=())


def read(value, inputs, keys=rows.MLFLOW):
    body = value if isinstance(value, bytes) else json.dumps(value).encode()
    return to_tensors(rows.decode(body, of(inputs), keys), inputs, lenient=False)


@st.composite
def frames(draw):
    """The inputs of a model, and rows for them by name."""
    names = draw(st.lists(NAMES, min_size=1, max_size=4, unique=True))
    types = [draw(st.sampled_from(sorted(ELEMENTS))) for _ in names]
    inputs = tuple(TensorSpec(name=n, datatype=t, shape=(-1,)) for n, t in zip(names, types, strict=True))
    row = st.fixed_dictionaries({n: ELEMENTS[t] for n, t in zip(names, types, strict=True)})
    return inputs, draw(st.lists(row, min_size=1, max_size=4))


def wanted(inputs, table):
    return [tensor(s.name, _array([row[s.name] for row in table], s.datatype), s.datatype) for s in inputs]


def _array(values, datatype):
    return np.array(values, object) if datatype == "BYTES" else np.array(values, NUMPY[datatype])


def forms(inputs, table, order):
    """The same rows in every form there is, with columns in this order."""
    records = [{name: row[name] for name in order} for row in table]
    data = [list(row.values()) for row in records]
    lists = [[row[spec.name] for spec in inputs] for row in table]
    yield records
    yield {"instances": records}
    yield {"inputs": records}
    yield {"inputs": {name: [row[name] for row in table] for name in order}}
    yield {"dataframe_records": records}
    yield {"dataframe_split": {"columns": order, "data": data}}
    yield {"dataframe_split": {"columns": order, "index": list(range(len(data))), "data": data}}
    yield {"instances": [{name: {"0": value} for name, value in row.items()} for row in records]}
    yield {"instances": lists if len(inputs) > 1 else [row[0] for row in lists]}
    if len(table) == 1:
        yield records[0]
        yield {"inputs": records[0]}


@settings(max_examples=30)
@given(frames(), st.data())
def test_every_form_and_order_gives_the_same_tensors(frame, data):
    inputs, table = frame
    order = data.draw(st.permutations([spec.name for spec in inputs]))
    for value in forms(inputs, table, order):
        found = read(value, inputs)
        assert all(same(a, b) for a, b in zip(found, wanted(inputs, table), strict=True)), value


@settings(max_examples=30)
@given(frames(), NAMES, st.data())
def test_an_unknown_a_missing_and_a_doubled_column_are_refused(frame, name, data):
    inputs, table = frame
    known = [spec.name for spec in inputs]
    if name not in known:
        for value in forms(inputs, [{**row, name: 1} for row in table], [*known, name]):
            if isinstance(value, list) or "instances" not in value or isinstance(value["instances"][0], dict):
                with pytest.raises(InvalidArgument):
                    read(value, inputs)
    dropped = data.draw(st.sampled_from(known))
    row = {key: value for key, value in table[0].items() if key != dropped}
    if row or inputs[0].columns:
        with pytest.raises(InvalidArgument):
            read([row] if row else [{"": 1}], inputs)
    with pytest.raises(InvalidArgument, match="twice"):
        read({"dataframe_split": {"columns": [*known, dropped], "data": [[1] * (len(known) + 1)]}}, inputs)
    text = json.dumps(table[0])
    with pytest.raises(InvalidArgument, match="twice"):
        read(f"[{text[:-1]}, {json.dumps(dropped)}: {json.dumps(table[0][dropped])}}}]".encode(), inputs)


@given(
    st.recursive(
        st.none() | st.booleans() | st.floats() | st.integers() | st.text(max_size=3),
        lambda inner: (
            st.lists(inner, max_size=3)
            | st.dictionaries(
                st.sampled_from([*rows.MLFLOW, "a", "b", "c", "x", "columns", "data", "b64", "0"]), inner, max_size=3
            )
        ),
    )
)
def test_any_json_is_read_or_refused(value):
    for inputs in (WIDE, UNNAMED, TWO):
        for keys in (rows.MLFLOW, rows.V1):
            with contextlib.suppress(InvalidArgument):
                assert {each.name for each in read(value, inputs, keys)} == {spec.name for spec in inputs}


def test_columns_of_one_input_go_by_name():
    (found,) = read([{"c": 3, "a": 1, "b": 2}], WIDE)
    assert found.array.tolist() == [[1, 2, 3]]
    assert read({"instances": [[1, 2, 3]]}, WIDE)[0].array.tolist() == [[1, 2, 3]]
    assert read({"instances": [{"x": [1, 2, 3]}]}, WIDE)[0].array.tolist() == [[1, 2, 3]]


def test_names_are_refused_where_the_model_knows_none():
    with pytest.raises(InvalidArgument, match="order cannot be checked"):
        read([{"a": 1, "b": 2, "c": 3}], UNNAMED)
    split = {"columns": [0, 1, 2], "data": [[1, 2, 3]]}
    assert read({"dataframe_split": split}, UNNAMED)[0].array.tolist() == [[1, 2, 3]]


def test_null_and_the_nan_of_pythons_writers_are_missing_values():
    body = b'{"instances": [[NaN, null, 1]]}'
    assert np.isnan(read(body, WIDE)[0].array).tolist() == [[True, True, False]]


def test_bytes_come_as_base64():
    assert read({"instances": [{"job": {"b64": "/wA="}, "age": 1}]}, TWO)[1].array.tolist() == [b"\xff\x00"]
    only = (TWO[1],)
    assert read({"instances": [{"b64": "/wA="}]}, only)[0].array.tolist() == [b"\xff\x00"]


@pytest.mark.parametrize(
    ("value", "said"),
    [
        ({"instances": [[1, 2]], "params": {"a": 1}}, "'params'"),
        ({"instances": [[1, 2, 3]], "inputs": [[1, 2, 3]]}, "one of instances, inputs"),
        ({"instances": []}, "no rows"),
        ({"instances": [{"job": {"b64": "\x80"}, "age": 1}]}, "no base64"),
        ({"instances": 5}, "list of rows"),
        ([{"a": 1, "b": 2, "c": 3}, {"a": 1, "b": 2}], "row 1 lacks the column 'c'"),
        ([{"a": 1, "b": 2, "c": 3}, [1, 2, 3]], "some rows"),
        ({"dataframe_split": {"columns": ["a", "b", "c"], "data": [[1, 2]]}}, "row 0"),
        ({"dataframe_split": {"data": [[1, 2]]}}, "columns"),
        ({"dataframe_records": [[1, 2, 3]]}, "by column name"),
        ([{"a": {"b": 1}, "b": 2, "c": 3}], "is an object"),
        ([[1, 2, "three"]], "'three' is no number"),
        ([[1, 2, 10**400]], "range"),
        (b"[[1, 2", "valid JSON"),
        (b"[" * 100_000, "deep"),
        (b"[[1,2,3" + b"0" * 5000 + b"]]", "range|JSON"),
    ],
)
def test_what_is_refused_is_named(value, said):
    with pytest.raises(InvalidArgument, match=said):
        read(value, WIDE)


def test_values_that_would_change_are_refused():
    small = (TensorSpec(name="x", datatype="FP32", shape=(-1,)),)
    with pytest.raises(InvalidArgument, match="range"):
        read([1e300], small)
    whole = (TensorSpec(name="x", datatype="INT64", shape=(-1, 2)),)
    with pytest.raises(InvalidArgument, match="no INT64"):
        read([[2**53 + 1, 1.0]], whole)
    with pytest.raises(InvalidArgument, match="BF16"):
        read([[1.0, 1.0]], (TensorSpec(name="x", datatype="BF16", shape=(-1, 2)),))


def test_rows_are_bounded():
    with pytest.raises(PayloadTooLarge, match="batch job"):
        rows.decode(b" " * (rows.MOST + 1), of(WIDE), rows.V1)


def test_v1_takes_its_keys_alone():
    for value in ([{"a": 1, "b": 2, "c": 3}], {"a": 1, "b": 2, "c": 3}, {"dataframe_records": [{"a": 1}]}):
        with pytest.raises(InvalidArgument, match="instances, inputs"):
            read(value, WIDE, rows.V1)


def answer(*outputs, batched=True):
    specs = tuple(
        TensorSpec(name=t.name, datatype=t.datatype, shape=(-1 if batched else t.shape[0], *t.shape[1:]))
        for t in outputs
    )
    signature = (
        Signature(inputs=UNNAMED, outputs=specs, batched=batched)
        if batched
        else Signature(inputs=(), outputs=specs, batched=False)
    )
    return json.loads(rows.encode(Response("m", "1", outputs), signature))["predictions"]


LABEL = Tensor("label", "BYTES", np.array([b"no", b"yes"], object))
SCORES = Tensor("scores", "FP32", np.array([[0.5, np.nan], [1, 2]], "f4"))


def test_predictions_are_labels_values_or_objects():
    assert answer(LABEL, SCORES) == ["no", "yes"]
    assert answer(SCORES) == [[0.5, None], [1, 2]]
    other = Tensor("other", "INT64", np.array([1, 2]))
    assert answer(SCORES, other) == [{"scores": [0.5, None], "other": 1}, {"scores": [1, 2], "other": 2}]
    assert answer(SCORES, batched=False) == [[0.5, None], [1, 2]]
    assert answer(SCORES, other, batched=False) == {"scores": [[0.5, None], [1, 2]], "other": [1, 2]}


def test_labels_that_count_classes_are_their_names():
    spec = TensorSpec(name="label", datatype="INT64", shape=(-1,), classes=("no", "yes"))
    signature = Signature(inputs=UNNAMED, outputs=(spec,))
    for found, said in (([1, 0], ["yes", "no"]), ([1, 2], [1, 2]), ([], [])):
        response = Response("m", "1", [Tensor("label", "INT64", np.array(found, "i8"))])
        assert json.loads(rows.encode(response, signature))["predictions"] == said


def test_half_floats_are_numbers():
    assert answer(Tensor("y", "FP16", np.array([1.5], "f2"))) == [1.5]
    assert answer(Tensor("y", "BF16", np.array([0x3FC0], "u2"))) == [1.5]


@settings(max_examples=10)
@given(st.integers(0, 40_000))
def test_many_rows_are_written_in_parts(count):
    assert answer(Tensor("y", "INT64", np.arange(count))) == list(range(count))


REVIEW = TensorSpec(name="review", datatype="BYTES", shape=(-1,))


@pytest.mark.parametrize(
    "value", [[{"text": "a"}], {"text": "a"}, {"dataframe_split": {"columns": ["t"], "data": [["a"]]}}]
)
def test_one_column_is_the_one_input_whatever_its_name(value):
    (found,) = read(value, [REVIEW])
    assert (found.name, found.array.tolist()) == ("review", [b"a"])


@pytest.mark.parametrize("value", [[{"text": "a", "id": "b"}], [{"review": "a", "id": "b"}]])
def test_of_two_columns_none_is_guessed(value):
    with pytest.raises(InvalidArgument, match="does not know"):
        read(value, [REVIEW])
