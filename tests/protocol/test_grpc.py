import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from argosy.protocol import grpc
from argosy.protocol.rest import Output, Request, Response
from argosy.spec.errors import InvalidArgument
from argosy.spec.tensor import DATATYPES, tensor
from prove.grpcmessages import decode_response, encode_request
from tests.protocol.strategies import same, tensors

TYPED = tuple(name for name in DATATYPES if name not in ("FP16", "BF16"))


@given(st.lists(tensors(), min_size=1, max_size=3))
def test_raw_round_trip(many):
    request = Request(many, "7", {"a": 1, "b": "t", "c": 1.5, "d": True, "e": 2**63}, [Output("y", {"k": 3})])
    wire = grpc.InferRequest.FromString(encode_request("m", "1", request).SerializeToString())
    back, use_raw = grpc.decode_request(wire)
    assert use_raw
    assert (back.id, back.parameters, back.outputs) == (request.id, request.parameters, request.outputs)
    assert all(same(a, b) for a, b in zip(back.tensors, many, strict=True))


@given(st.lists(tensors(datatypes=TYPED), min_size=1, max_size=3))
def test_typed_round_trip(many):
    wire = encode_request("m", "", Request(many), use_raw=False)
    back, use_raw = grpc.decode_request(grpc.InferRequest.FromString(wire.SerializeToString()))
    assert not use_raw
    for a, b in zip(back.tensors, many, strict=True):
        assert (a.datatype, a.shape) == (b.datatype, b.shape)
        np.testing.assert_array_equal(a.array, b.array)


@given(st.lists(tensors(), max_size=3), st.booleans())
def test_response_round_trip(many, use_raw):
    wire = grpc.encode_response(Response("m", "2", many, "i", {"p": 1}), use_raw)
    back = decode_response(grpc.InferResponse.FromString(wire.SerializeToString()))
    assert (back.model_name, back.model_version, back.id, back.parameters) == ("m", "2", "i", {"p": 1})
    for a, b in zip(back.tensors, many, strict=True):
        assert (a.name, a.datatype, a.shape) == (b.name, b.datatype, b.shape)
        np.testing.assert_array_equal(a.array, b.array)


def wire(**fields):
    return grpc.InferRequest(model_name="m", inputs=[{"name": "x", "datatype": "INT32", "shape": [2], **fields}])


def mixed():
    found = wire(contents={"int_contents": [1, 2]})
    found.raw_input_contents.append(b"12345678")
    return found


@pytest.mark.parametrize(
    ("message", "text"),
    [
        (grpc.InferRequest(), "no inputs"),
        (wire(), "needs 2 elements, 0 were sent"),
        (wire(datatype="INT99"), "unknown datatype"),
        (wire(datatype="FP16"), "no typed form"),
        (wire(contents={"fp32_contents": [1, 2]}), "belongs in int_contents"),
        (wire(datatype="INT8", contents={"int_contents": [1, 200]}), "out of the range of INT8"),
        (wire(shape=[-2], contents={"int_contents": [1, 2]}), "no axis may be negative"),
        (mixed(), "mixed"),
        (
            grpc.InferRequest(inputs=[{"name": "x", "datatype": "INT8"}], raw_input_contents=[b"a", b"b"]),
            "need one each",
        ),
        (
            grpc.InferRequest(inputs=[{"name": "x", "datatype": "INT8", "shape": [2]}], raw_input_contents=[b"a"]),
            "2 bytes",
        ),
        (grpc.InferRequest(parameters={"p": {}}, inputs=[{"name": "x", "datatype": "INT8", "shape": [0]}]), "no value"),
    ],
)
def test_malformed(message, text):
    with pytest.raises(InvalidArgument, match=text):
        grpc.decode_request(message, strict=True)


def test_half_floats_answer_raw_even_when_asked_typed():
    found = grpc.encode_response(Response("m", None, [tensor("y", np.ones(2, "f2"))]), use_raw=False)
    assert found.raw_output_contents[0] == np.ones(2, "f2").tobytes()


def test_field_numbers_are_the_protocols():
    from tritonclient.grpc import service_pb2

    for name, theirs in service_pb2.DESCRIPTOR.message_types_by_name.items():
        try:
            ours = grpc.message(name).DESCRIPTOR
        except KeyError:
            continue
        for field in ours.fields:
            assert theirs.fields_by_name[field.name].number == field.number, f"{name}.{field.name}"
            assert theirs.fields_by_name[field.name].type == field.type, f"{name}.{field.name}"
