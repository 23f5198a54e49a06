"""What other libraries send that the protocol does not say, over REST and gRPC."""

import base64
import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from argosy.protocol import grpc, large, rest
from argosy.protocol.bounds import LARGE, Bounds
from argosy.spec.errors import InvalidArgument
from argosy.spec.signature import Signature, TensorSpec

TEXTS = Signature(
    inputs=(TensorSpec(name="x", datatype="BYTES", shape=(-1,), nullable=True),),
    outputs=(TensorSpec(name="y", datatype="FP32", shape=(-1,)),),
)
NUMBERS = Signature(
    inputs=(TensorSpec(name="x", datatype="FP32", shape=(-1, 2), columns=("a", "b")),), outputs=TEXTS.outputs
)


def body(datatype, data, shape=None, parameters=None, **more):
    item = {"name": "x", "shape": shape or [len(data)], "datatype": datatype, "data": data, **more}
    return json.dumps({"inputs": [item | ({"parameters": parameters} if parameters is not None else {})]}).encode()


def test_every_field_that_a_pydantic_model_dumps_as_null():
    wire = json.loads(body("INT32", [1, 2]))
    wire |= {"id": None, "parameters": None, "outputs": None, "model_name": None, "model_version": None}
    wire["inputs"][0]["parameters"] = None
    assert rest.decode_request(json.dumps(wire).encode()).tensors[0].array.tolist() == [1, 2]


def test_parameters_without_a_value_and_unknown_fields_are_passed_over():
    wire = json.loads(body("INT32", [1, 2], timestamp=7))
    wire["inputs"][0]["parameters"] = {"content_type": "np", "headers": None, "tags": ["a"]}
    wire |= {"parameters": {"content_type": None, "timeout": 5}, "outputs": [{"name": "y", "parameters": None}]}
    wire |= {"model_spec": {"deep": [1]}}
    text = json.dumps(wire).encode()
    found = rest.decode_request(text)
    assert found.parameters == {"timeout": 5}
    assert [(one.name, one.parameters) for one in found.outputs] == [("y", {})]
    with pytest.raises(InvalidArgument, match="no inference request"):
        rest.decode_request(text, strict=True)


@pytest.mark.parametrize("fault", [{"id": 7}, {"outputs": {}}, {"parameters": []}, {"inputs": [{"name": "x"}]}])
def test_what_is_of_another_kind_is_refused(fault):
    with pytest.raises(InvalidArgument, match="no inference request"):
        rest.decode_request(json.dumps(json.loads(body("INT32", [1])) | {"unknown": 1} | fault).encode())


@pytest.mark.parametrize(
    ("datatype", "data", "wanted"),
    [
        ("BYTES", ["a", None, ""], [b"a", b"", b""]),
        ("INT64", [1.0, 2**63 - 1, -0.0], [1, 2**63 - 1, 0]),
        ("UINT8", [255.0, 1], [255, 1]),
        ("BOOL", [0, 1, True], [False, True, True]),
    ],
)
@pytest.mark.parametrize("big", [False, True])
def test_elements(datatype, data, wanted, big):
    times = LARGE // 4 if big else 1
    text = body(datatype, data * times)
    assert rest.decode_request(text).tensors[0].array.tolist() == wanted * times
    with pytest.raises(InvalidArgument, match="data must hold"):
        rest.decode_request(text, strict=True)


@pytest.mark.parametrize(
    ("datatype", "data", "message"),
    [
        ("INT64", [1.5], "1.5 is no INT64"),
        ("INT8", [128.0], "out of the range"),
        ("BOOL", [2], "2 is no BOOL"),
        ("INT64", [1, "2"], "must hold integers"),
        ("BYTES", ["a", 1], "must hold strings"),
        ("INT64", [[1.0], [2.0, 3.0]], "ragged"),
        ("INT64", [1e300], "out of the range"),
    ],
)
def test_elements_that_would_change(datatype, data, message):
    with pytest.raises(InvalidArgument, match=message):
        rest.decode_request(body(datatype, data))


@given(st.lists(st.one_of(st.none(), st.text(max_size=8)), min_size=1, max_size=30))
def test_gaps_between_strings_large_and_small(texts):
    text = json.dumps(texts, ensure_ascii=False).encode("utf-8", "surrogatepass")
    try:
        wanted = [(value or "").encode() for value in texts]
    except UnicodeEncodeError:
        return
    assert large.decode("x", "BYTES", [len(texts)], text).array.tolist() == wanted


def test_base64_is_decoded_where_the_request_says_so():
    images = [b"\x89PNG\x00", b""]
    data = [base64.b64encode(image).decode() for image in images]
    text = body("BYTES", data, parameters={"content_type": "base64"})
    assert rest.decode_request(text).tensors[0].array.tolist() == images
    assert rest.decode_request(text, strict=True).tensors[0].array.tolist() == [one.encode() for one in data]
    with pytest.raises(InvalidArgument, match="content_type is base64"):
        rest.decode_request(body("BYTES", ["not base64!"], parameters={"content_type": "base64"}))


def test_a_large_request_is_bounded_by_what_fits():
    bounds = Bounds(NUMBERS, rows=20_000)
    rows = 15_000
    items = [{"name": name, "shape": [rows], "datatype": "INT32", "data": [1] * rows} for name in ("b", "a")]
    found = rest.decode_request(json.dumps({"inputs": items, "unknown": 1}).encode(), None, None, bounds)
    assert [one.shape for one in found.tensors] == [(rows,), (rows,)]
    for text, message in [
        (json.dumps({"inputs": [*items, items[0]]}), "length 2"),
        (body("INT32", [1] * 50_000), r"shape \[50000\]"),
        (body("INT32", [1] * 50_000, [25_000, 2]), "at most 20000"),
        (body("BYTES", ["a"] * 50_000, [25_000, 2]), "datatype BYTES"),
    ]:
        with pytest.raises(Exception, match=message):
            rest.decode_request(text if isinstance(text, bytes) else text.encode(), None, None, bounds)


def message(datatype, **contents):
    shape = [len(next(iter(contents.values())))] if contents else [0]
    tensor = {"name": "x", "datatype": datatype, "shape": shape, "contents": contents}
    return grpc.InferRequest(model_name="m", inputs=[tensor])


@pytest.mark.parametrize(
    ("datatype", "contents", "wanted"),
    [
        ("INT64", {"int_contents": [-1, 2]}, [-1, 2]),
        ("INT32", {"int64_contents": [1]}, [1]),
        ("FP64", {"fp32_contents": [0.5]}, [0.5]),
        ("FP32", {"fp64_contents": [0.1]}, [float(np.float32(0.1))]),
        ("UINT8", {"int_contents": [255]}, [255]),
        ("FP32", {"int64_contents": [3]}, [3.0]),
        ("BOOL", {"int_contents": [0, 1]}, [False, True]),
    ],
)
def test_typed_contents_in_a_neighbouring_field(datatype, contents, wanted):
    request, raw = grpc.decode_request(message(datatype, **contents))
    assert request.tensors[0].array.tolist() == wanted
    assert request.tensors[0].datatype == datatype
    assert not raw
    with pytest.raises(InvalidArgument, match="belongs in"):
        grpc.decode_request(message(datatype, **contents), strict=True)


@pytest.mark.parametrize(
    ("datatype", "contents", "text"),
    [
        ("UINT8", {"int_contents": [256]}, "256 is no UINT8"),
        ("FP32", {"fp64_contents": [1e39]}, "out of the range of FP32"),
        ("BYTES", {"int_contents": [1]}, "belongs in bytes_contents"),
        ("INT64", {"bytes_contents": [b"1"]}, "belongs in int64_contents"),
        ("INT64", {"int_contents": [1], "int64_contents": [1]}, "belongs in int64_contents"),
        ("FP16", {"fp32_contents": [1.5]}, "no typed form"),
    ],
)
def test_typed_contents_that_do_not_fit(datatype, contents, text):
    with pytest.raises(InvalidArgument, match=text):
        grpc.decode_request(message(datatype, **contents))


def test_empty_contents_beside_raw_ones_and_parameters_without_a_value():
    wire = grpc.InferRequest(parameters={"p": {}}, raw_input_contents=[b"\x01"])
    wire.inputs.add(name="x", datatype="INT8", shape=[1]).contents.SetInParent()
    assert grpc.decode_request(wire)[0].tensors[0].array.tolist() == [1]
    with pytest.raises(InvalidArgument, match="mixed"):
        grpc.decode_request(wire, strict=True)
