import msgspec
import pytest

from argosy_conformance.check import Failed
from argosy_conformance.rest import LENGTH, binary_body, json_body, read
from argosy_conformance.tensors import made
from argosy_conformance.transport import Answer

SENT = [made("a", "FP32", (2, 3)), made("b", "BYTES", (2,)), made("c", "INT64", (0, 4))]
OUT = {"model_name": "m", "outputs": [{"name": "y", "datatype": "INT32", "shape": [2], "data": [1, 2]}]}


def turned(body, headers):
    """A request as the answer of an identity: `inputs` become `outputs`."""
    length = int(headers.get(LENGTH, len(body)))
    value = msgspec.json.decode(body[:length])
    header = msgspec.json.encode({"model_name": "m", "outputs": value["inputs"]})
    fields = {LENGTH: str(len(header)), "content-type": "application/octet-stream"} if LENGTH in headers else {}
    return Answer(200, fields, header + body[length:])


@pytest.mark.parametrize("nested", [False, True])
def test_json_comes_back(nested):
    found = read(turned(msgspec.json.encode(json_body(SENT, nested=nested)), {}))
    assert list(found.tensors.values()) == SENT
    assert not found.binary


def test_binary_comes_back():
    found = read(turned(*binary_body(SENT)))
    assert list(found.tensors.values()) == SENT
    assert found.binary == {"a", "b", "c"}


@pytest.mark.parametrize(
    "change",
    [
        {"model_name": 7},
        {"outputs": {}},
        {"outputs": [7]},
        {"outputs": [*OUT["outputs"], *OUT["outputs"]]},
        {"outputs": [{**OUT["outputs"][0], "shape": [3]}]},
        {"outputs": [{**OUT["outputs"][0], "shape": [-2]}]},
        {"outputs": [{**OUT["outputs"][0], "datatype": "int32"}]},
        {"outputs": [{**OUT["outputs"][0], "data": [1, 2.5]}]},
        {"outputs": [{**OUT["outputs"][0], "data": None}]},
        {"outputs": [{**OUT["outputs"][0], "parameters": {"binary_data_size": 8}}]},
        {"id": 7},
    ],
)
def test_a_wrong_answer_fails(change):
    with pytest.raises(Failed):
        read(Answer(200, {}, msgspec.json.encode(OUT | change)))


@pytest.mark.parametrize(
    "body", [b"", b"NaN", b"[]", b'{"outputs":[]}', b'{"model_name":"m","outputs":[{"data":[NaN]}]}']
)
def test_what_is_no_answer_fails(body):
    with pytest.raises(Failed):
        read(Answer(200, {}, body))


def test_left_over_bytes_fail():
    answer = turned(*binary_body(SENT))
    with pytest.raises(Failed, match="left over"):
        read(Answer(200, answer.headers, answer.body + b"x"))


def test_a_failure_quotes_what_was_seen():
    with pytest.raises(Failed, match="expected 200, saw 503 away"):
        read(Answer(503, {}, b"away"))
