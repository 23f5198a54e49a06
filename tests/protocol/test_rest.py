import contextlib
import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from argosy.protocol import rest
from argosy.protocol.rest import Request, Response
from argosy.spec.errors import InvalidArgument
from argosy.spec.signature import Signature, TensorSpec
from argosy.spec.tensor import DATATYPES, tensor
from tests.protocol.strategies import same, tensors, texts

JSON_TYPES = tuple(name for name in DATATYPES if name not in ("FP16", "BF16"))


def body(**changes):
    wire = {"name": "x", "shape": [2], "datatype": "FP32", "data": [1, 2.5]}
    return json.dumps({"inputs": [wire | changes]}).encode()


@given(tensors(datatypes=JSON_TYPES, finite=True, elements=texts))
def test_json_round_trip(one):
    encoded, length = rest.encode_request(Request([one], id="7"), binary=False)
    assert length is None
    back = rest.decode_request(encoded)
    assert back.id == "7"
    assert same(back.tensors[0], one)


@given(st.lists(tensors(), min_size=1, max_size=3))
def test_binary_round_trip(many):
    encoded, length = rest.encode_request(Request(many))
    back = rest.decode_request(encoded, length)
    assert all(same(a, b) for a, b in zip(back.tensors, many, strict=True))
    assert back.parameters["binary_data_output"] is True


@given(st.lists(tensors(datatypes=JSON_TYPES, finite=True, elements=texts), max_size=3), st.data())
def test_mixed_response_round_trip(many, data):
    binary = [data.draw(st.booleans()) for _ in many]
    response = Response("m", "3", many, "id")
    encoded, length = rest.encode_response(response, binary)
    assert (length is not None) == any(binary)
    back = rest.decode_response(encoded, length)
    assert (back.model_name, back.model_version, back.id) == ("m", "3", "id")
    assert all(same(a, b) for a, b in zip(back.tensors, many, strict=True))


@given(tensors(datatypes=JSON_TYPES, finite=True, elements=texts))
def test_nested_equals_flat(one):
    nested = [v.decode() for v in one.array.tolist()] if one.datatype == "BYTES" and one.array.ndim == 1 else None
    if one.datatype == "BYTES" and nested is None:
        return
    data = one.array.tolist() if nested is None else nested
    found = rest.decode_request(body(shape=list(one.shape), datatype=one.datatype, data=data))
    assert same(found.tensors[0], one)


@pytest.mark.parametrize(
    ("wire", "message"),
    [
        (b"", "the request body is empty"),
        (b"{", "not valid JSON"),
        (b"[]", "no inference request"),
        (b"\xff\xfe", "not valid JSON"),
        (b"[" * 100_000, "no inference request"),
        (b"{}", "inputs"),
        (b'{"inputs": []}', "'inputs' is empty"),
        (b'{"inputs": [], "inptus": 1}', "unknown field `inptus`"),
        (body(datatype="fp32"), "did you mean 'FP32'"),
        (body(datatype="FLOAT"), "unknown datatype 'FLOAT'"),
        (body(shape=[-1]), "no axis may be negative"),
        (body(shape=[3]), "3 elements, but 2 were sent"),
        (body(shape=[1] * 33), "33 axes"),
        (body(shape=[2**62, 2**62]), "elements, but 2 were sent"),
        (body(shape=[1.5]), "Expected `int`"),
        (body(data=[1, "2"]), "must hold numbers"),
        (body(data=[1, True]), "must hold numbers"),
        (body(data=[[1], [2, 3]], shape=[3]), "ragged"),
        (body(data=[[1], [2]], shape=[1, 2]), "nested as"),
        (body(data=[1e39, 1]), "out of the range of FP32"),
        (body(datatype="INT8", data=[1, 128]), "out of the range of INT8"),
        (body(datatype="UINT8", data=[1, -1]), "out of the range of UINT8"),
        (body(datatype="INT64", data=[1, 2**63]), "out of the range of INT64"),
        (body(datatype="INT32", data=[1, 1.5]), "must hold integers"),
        (body(datatype="INT32", data=[1, None]), "must hold integers"),
        (body(datatype="FP16"), "no JSON form"),
        (body(datatype="BYTES"), "must hold strings"),
        (body(parameters={"binary_data_size": 8}), "no Inference-Header-Content-Length"),
        (json.dumps({"inputs": [{"name": "x", "shape": [1], "datatype": "FP32"}]}).encode(), "neither 'data'"),
    ],
)
def test_malformed(wire, message):
    with pytest.raises(InvalidArgument, match=message):
        rest.decode_request(wire, strict=True)
    if not message.startswith("unknown field"):
        with pytest.raises(InvalidArgument):
            rest.decode_request(wire)


@pytest.mark.parametrize("value", [2**63 - 1, -(2**63)])
def test_int64_extremes_survive(value):
    found = rest.decode_request(body(datatype="INT64", shape=[1], data=[value])).tensors[0]
    assert found.array.tolist() == [value]
    encoded, _ = rest.encode_response(Response("m", None, [found]))
    assert json.loads(encoded)["outputs"][0]["data"] == [value]


def test_uint64_extreme_survives():
    found = rest.decode_request(body(datatype="UINT64", shape=[1], data=[2**64 - 1])).tensors[0]
    assert found.array.tolist() == [2**64 - 1]


def test_null_is_nan_both_ways():
    found = rest.decode_request(body(data=[None, 1])).tensors[0]
    assert np.isnan(found.array[0])
    encoded, _ = rest.encode_response(Response("m", None, [found]))
    assert json.loads(encoded)["outputs"][0]["data"] == [None, 1.0]


def header(*inputs):
    return json.dumps({"inputs": list(inputs)}).encode()


X = {"name": "x", "shape": [2], "datatype": "INT8"}


@pytest.mark.parametrize(
    ("text", "rest_bytes", "message"),
    [
        (header(X | {"parameters": {"binary_data_size": 3}}), b"abc", "needs 2 bytes, 3 were sent"),
        (header(X | {"parameters": {"binary_data_size": 2}}), b"a", "needs 2 binary bytes; 1 are left"),
        (header(X | {"parameters": {"binary_data_size": 2}}), b"abc", "belong to no input"),
        (header(X | {"parameters": {"binary_data_size": -2}}), b"ab", "must be a number of bytes"),
        (header(X | {"parameters": {"binary_data_size": True}}), b"a", "must be a number of bytes"),
        (header(X | {"parameters": {"binary_data_size": 2}, "data": [1, 2]}), b"ab", "both 'data' and"),
        (header(X), b"ab", "neither"),
        (header(X | {"datatype": "BOOL", "parameters": {"binary_data_size": 2}}), b"\0\2", "other than 0 and 1"),
        (header(X | {"datatype": "BYTES", "parameters": {"binary_data_size": 4}}), b"\1\0\0\0", "cannot hold 2"),
        (
            header(X | {"datatype": "BYTES", "shape": [10**15], "parameters": {"binary_data_size": 0}}),
            b"",
            "cannot hold",
        ),
        (
            header(X | {"datatype": "BYTES", "parameters": {"binary_data_size": 9}}),
            b"\1\0\0\0a\xff\0\0\0",
            "ends inside element 1",
        ),
    ],
)
def test_binary_must_reject(text, rest_bytes, message):
    with pytest.raises(InvalidArgument, match=message):
        rest.decode_request(text + rest_bytes, len(text))


@pytest.mark.parametrize("value", ["", "-1", "1.5", "abc", "11", "1" * 30, "٣"])
def test_header_length_must_reject(value):
    with pytest.raises(InvalidArgument, match="Inference-Header-Content-Length"):
        rest.parse_header_length(value, 10)


def test_raw_request():
    signature = Signature(inputs=(TensorSpec(name="x", datatype="FP32", shape=(-1, 2)),), outputs=())
    data = np.arange(6, dtype="f4")
    found = rest.decode_request(data.tobytes(), 0, signature)
    assert found.tensors[0].array.tolist() == data.reshape(3, 2).tolist()
    with pytest.raises(InvalidArgument, match="4 were sent"):
        rest.decode_request(b"abcd", 0, signature)
    with pytest.raises(InvalidArgument, match="exactly one input"):
        rest.decode_request(b"abcd", 0, None)


@given(st.binary(max_size=200), st.one_of(st.none(), st.integers(0, 200)))
def test_garbage_is_always_a_clear_error(data, length):
    if length is not None and length > len(data):
        length = len(data)
    with contextlib.suppress(InvalidArgument):
        rest.decode_request(data, length)


def test_bytes_that_are_no_text_need_binary():
    one = tensor("s", np.array([b"\xff"], dtype=object))
    with pytest.raises(InvalidArgument, match="ask for binary_data"):
        rest.encode_response(Response("m", None, [one]))


def outputs_with(*names):
    return [TensorSpec(name=f"scores{place}", datatype="FP32", shape=(-1, 2), classes=names) for place in range(2)]


def test_names_of_classes_are_a_parameter_of_the_answer():
    found = rest.name_classes(outputs_with("é", '"'))
    assert json.loads(found["classes"]) == {"scores0": ["é", '"'], "scores1": ["é", '"']}
    body, _ = rest.encode_response(rest.Response("m", "1", [], None, found))
    assert rest.decode_classes(rest.decode_response(body)) == {"scores0": ("é", '"'), "scores1": ("é", '"')}
    assert rest.name_classes(outputs_with("a" * 600, "b")) == {}
    assert rest.name_classes([TensorSpec(name="y", datatype="FP32", shape=(-1,))]) == {}


@pytest.mark.parametrize("said", [{}, {"classes": 3}, {"classes": "a,b"}, {"classes": '["a"]'}])
def test_another_meaning_of_the_parameter_is_passed_over(said):
    assert rest.decode_classes(rest.Response("m", None, [], None, said)) == {}
