"""Large JSON is decoded as small JSON is: the same tensors, and refused where that would be."""

import json

import msgspec
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from argosy.protocol import jsondata, large, rest
from argosy.protocol.bounds import LARGE, Bounds
from argosy.spec.errors import ArgosyError, InvalidArgument, PayloadTooLarge
from argosy.spec.signature import Signature, TensorSpec
from argosy.spec.tensor import Tensor

NUMBERS = st.one_of(st.integers(-(2**70), 2**70), st.floats(allow_nan=False, allow_infinity=False), st.none())
VALUES = st.one_of(st.integers(-5, 300), NUMBERS, st.booleans(), st.text(max_size=4), st.just([]))
TYPES = st.sampled_from(["FP32", "FP64", "INT8", "INT64", "UINT64", "BOOL", "BYTES", "FP16", "NONE"])
SHAPES = st.lists(st.integers(0, 4), max_size=3)


@st.composite
def data(draw):
    """A shape, and data that mostly has it: flat, nested, or made somehow."""
    shape = draw(SHAPES)
    element = draw(st.sampled_from([st.integers(0, 1), st.booleans(), st.text(max_size=5), NUMBERS, VALUES]))
    flat = [draw(element) for _ in range(int(np.prod(shape)) + draw(st.sampled_from([0, 0, 0, 0, 1, -1])))]
    value = flat
    if draw(st.booleans()):
        for axis in reversed(shape[1:]):
            value = [value[start : start + axis] for start in range(0, len(value), axis)] if axis else value
    text = json.dumps(
        value, separators=draw(st.sampled_from([(",", ":"), (" , ", ":")])), ensure_ascii=draw(st.booleans())
    )
    return shape, text


def outcome(decode, datatype, shape, text):
    try:
        found = decode("x", datatype, shape, msgspec.Raw(text.encode()))
    except ArgosyError as error:
        return error.code
    return found.array.dtype, found.array.shape, found.array.tolist().__repr__()


@settings(max_examples=400)
@given(TYPES, data(), st.integers(1, 40))
def test_large_and_small_agree(datatype, given_, window):
    shape, text = given_
    before = large.WINDOW, large._SOME
    large.WINDOW = window + 24
    try:
        found = outcome(large.decode, datatype, shape, text)
    finally:
        large.WINDOW = before[0]
    wanted = outcome(jsondata.decode, datatype, shape, text)
    if found != wanted:
        assert found == "invalid_argument"
        assert "[]" in text or len(text) > window + 24, (shape, text)
        assert wanted == "invalid_argument" or 0 in shape or max(map(len, text.split(","))) > window + 24


def request(count, text=None, shape=None, more="", name="x"):
    values = text if text is not None else "[" + ",".join(["0.5"] * count) + "]"
    about = f'"name":"{name}","shape":{json.dumps(shape or [1, count])},"datatype":"FP32"'
    return f'{{"inputs":[{{{about},"data":{values}}}]{more}}}'.encode()


BOUNDS = Bounds(
    Signature(
        inputs=(TensorSpec(name="x", datatype="FP32", shape=(-1, -1)),),
        outputs=(TensorSpec(name="y", datatype="FP32", shape=(-1, -1)),),
    ),
    rows=1000,
    strict=True,
)
MANY = 100_000


def test_a_large_request_is_taken():
    found = rest.decode_request(
        request(MANY, more=',"id":"a","parameters":{"p":1},"outputs":[{"name":"y"}]'), None, None, BOUNDS
    )
    assert found.tensors[0].array.shape == (1, MANY)
    assert (found.id, found.parameters, [output.name for output in found.outputs]) == ("a", {"p": 1}, ["y"])
    nested = "[" + ",".join(["[" + ",".join(["1"] * 200) + "]"] * 500) + "]"
    assert rest.decode_request(request(0, nested, [500, 200]), None, None, BOUNDS).tensors[0].array.sum() == MANY


@pytest.mark.parametrize(
    ("body", "error", "text"),
    [
        (request(MANY, shape=[1, MANY + 1]), InvalidArgument, "were sent"),
        (request(MANY, shape=[MANY, 1]), PayloadTooLarge, "at most 1000"),
        (request(MANY, shape=[MANY]), InvalidArgument, "the model takes"),
        (request(MANY, name="z"), InvalidArgument, "unknown input 'z'"),
        (request(0, "[" * MANY, [1, 1]), InvalidArgument, "JSON|nested"),
        (request(0, "[" + "[]," * MANY + "[]]", [1, MANY + 1]), InvalidArgument, "flat or nested"),
        (request(0, "[[" + "0," * MANY + "0],[0]]", [2, (MANY + 2) // 2]), InvalidArgument, "flat or nested"),
        (request(0, "[" + "9" * MANY * 3 + "]", [1, 1]), InvalidArgument, "more than"),
        (request(0, "[" + " " * 2 * MANY + "]", [1, 0]), InvalidArgument, "but data of"),
        (
            request(1, more=',"parameters":{' + ",".join(f'"{n}":0' for n in range(MANY)) + "}"),
            InvalidArgument,
            "at most",
        ),
        (request(1, more=',"outputs":[' + ",".join(['{"name":"y"}'] * MANY) + "]"), InvalidArgument, "at most"),
        (request(1, more=f',"id":"{"i" * MANY}"'), InvalidArgument, "id has"),
        (
            b'{"inputs":[' + b",".join([b'{"name":"x","shape":[1],"datatype":"FP32"}'] * 9000) + b"]}",
            InvalidArgument,
            "length 1",
        ),
        (request(1, shape=[1] * 40_000), InvalidArgument, "the shape of input 'x'"),
        (b'{"inputs":[]' + b" " * MANY + b"}", InvalidArgument, "empty"),
        (b'{"inputs":[null]' + b" " * MANY + b"}", InvalidArgument, "no inference request"),
    ],
)
def test_what_is_too_much_is_refused(body, error, text):
    assert len(body) > LARGE
    with pytest.raises(error, match=text):
        rest.decode_request(body, None, None, BOUNDS, strict=True)


@pytest.mark.parametrize("datatype", ["FP32", "INT64", "BOOL", "BYTES"])
def test_large_answers_are_as_small_ones(datatype):
    values = {"FP32": np.full(40_000, np.nan, "f4"), "INT64": np.arange(40_000), "BOOL": np.ones(40_000, bool)}
    array = values.get(datatype, np.array([b"a"] * 40_000, object)).reshape(2, -1)
    answer = rest.Response("m", "1", [Tensor("a", datatype, array), Tensor("b", datatype, array)], "id")
    for binary in ([False, False], [True, False], [False, True], [True, True]):
        text, length = rest.encode_large(answer, binary)
        body, size = rest.encode_response(answer, binary)
        assert length == size
        assert bytes(text) == body
