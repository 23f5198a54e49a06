import socket

import msgspec
import numpy as np
import pytest

from argosy.client import AsyncClient, Client
from argosy.protocol import rest
from argosy.spec import errors
from argosy.spec.tensor import tensor

METADATA = {
    "name": "digits",
    "platform": "onnx",
    "versions": ["1"],
    "inputs": [{"name": "x", "datatype": "FP32", "shape": [-1, 2], "parameters": {"columns": ["a", "b"]}}],
    "outputs": [
        {"name": "sum", "datatype": "FP32", "shape": [-1]},
        {"name": "word", "datatype": "BYTES", "shape": [-1]},
    ],
}
BINARY = ("binary_tensor_data",)


def model(extensions=BINARY, metadata=METADATA):
    """A server whose model adds two columns."""

    def answer(request):
        if request.path == "/v2":
            return reply({"name": "s", "version": "1", "extensions": list(extensions)})
        if request.path.startswith("/v2/health"):
            return 200, {}, b""
        if request.path.endswith("/infer"):
            return infer(request)
        if request.path == "/v2/models/digits":
            return reply(metadata)
        return 404, {}, b'{"error": "no such model"}'

    return answer


def infer(request):
    length = request.headers.get(rest.HEADER_LENGTH)
    found = rest.decode_request(request.body, int(length) if length else None)
    x = found.tensors[0].array
    outputs = [tensor("sum", x.sum(axis=1)), tensor("word", np.array(["é"] * len(x), dtype=object))]
    if found.outputs:
        outputs = [one for one in outputs if one.name in {want.name for want in found.outputs}]
    binary = [bool(length)] * len(outputs)
    body, size = rest.encode_response(rest.Response("digits", "1", outputs, found.id), binary)
    return 200, {rest.HEADER_LENGTH: str(size)} if size else {}, body


def reply(value, status=200, **headers):
    return status, headers, msgspec.json.encode(value)


@pytest.mark.parametrize("extensions", [BINARY, ()])
def test_predict(server, extensions):
    there = server(model(extensions))
    with Client(there.url, "k") as client:
        answer = client.predict("digits", [{"b": 2, "a": 1}, {"a": 3, "b": None}])
        client.predict("digits", [[1, 2]])
    assert answer["sum"][0] == 3
    assert np.isnan(answer["sum"][1])
    assert answer.word.tolist() == ["é"] * 2
    assert [request.path for request in there.requests] == [
        "/v2/models/digits",
        "/v2",
        "/v2/models/digits/infer",
        "/v2/models/digits/infer",
    ]
    assert {request.headers["authorization"] for request in there.requests} == {"Bearer k"}
    assert (rest.HEADER_LENGTH in there.requests[-1].headers) is bool(extensions)


def test_whole_url(server):
    there = server(model())
    with Client(f"{there.url}/v2/models/digits/infer") as client:
        assert client.predict(None, np.ones((1, 2)))["sum"].tolist() == [2]
        assert client.metadata().inputs[0].columns == ("a", "b")
    with Client(there.url) as client, pytest.raises(errors.InvalidArgument, match="say which model"):
        client.predict(None, [[1, 2]])


def test_infer(server):
    there = server(model())
    with Client(there.url) as client:
        response = client.infer("digits", [tensor("x", np.ones((1, 2), "f4"))], 1, outputs=["word"], id="7")
    assert response.id == "7"
    assert [one.array.tolist() for one in response.tensors] == [["é".encode()]]
    assert there.requests[-1].path == "/v2/models/digits/versions/1/infer"


async def test_async(server):
    there = server(model())
    async with AsyncClient(there.url) as client:
        assert (await client.predict("digits", [[1, 2]]))["sum"].tolist() == [3]
        assert await client.live()
        assert await client.ready()
        assert (await client.metadata("digits")).versions == ("1",)
        with pytest.raises(errors.NotFound, match="no such model"):
            await client.predict("other", [[1, 2]])


def test_health_never_raises(server):
    there = server(lambda request: (503, {}, b""))
    with Client(there.url) as client:
        assert client.live() is client.ready("digits") is False
    with Client(f"http://127.0.0.1:{closed_port()}") as client:
        assert client.live() is False


def closed_port():
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        return taken.getsockname()[1]


def test_retries_what_asks_for_it(server):
    left = [(503, {"retry-after": "0"}, b"{}"), (503, {"retry-after": "0"}, b"{}")]

    def answer(request):
        return left.pop() if left else model()(request)

    there = server(answer)
    with Client(there.url) as client:
        assert client.predict("digits", [[1, 2]])["sum"].tolist() == [3]
    assert len(there.requests) == 5


@pytest.mark.parametrize(
    ("status", "cls"), [(503, errors.Unavailable), (500, errors.Internal), (429, errors.RateLimited)]
)
def test_retries_nothing_else(server, status, cls):
    there = server(lambda request: reply({"error": "no"}, status))
    with Client(there.url) as client, pytest.raises(cls, match="no"):
        client.metadata("digits")
    assert len(there.requests) == 1


def test_refused_connection_is_bounded():
    with (
        Client(f"http://127.0.0.1:{closed_port()}", timeout=1) as client,
        pytest.raises(errors.Unavailable, match="nothing"),
    ):
        client.metadata("digits")


def test_deadline(server):
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        url = f"http://127.0.0.1:{silent.getsockname()[1]}"
        with Client(url, timeout=0.2) as client, pytest.raises(errors.DeadlineExceeded, match="in time"):
            client.metadata("digits")


def test_whole_numbers_are_categories_where_the_model_says_so(server):
    """What a model of CatBoost takes, whose categories are texts."""
    spec = {"name": "code", "datatype": "BYTES", "shape": [-1], "parameters": {"semantic": "categorical"}}
    there = server(model(extensions=(), metadata={**METADATA, "inputs": [spec]}))
    with Client(there.url) as client, pytest.raises(errors.ArgosyError):  # this server sums what it is sent
        client.predict("digits", {"code": [7, -3]})
    assert b'"data":["7","-3"]' in there.requests[-1].body.replace(b" ", b"")


def test_stale_metadata_is_read_again(server):
    version = {"inputs": [{"name": "old", "datatype": "FP32", "shape": [-1, 2]}]}

    def answer(request):
        if request.path.endswith("/infer") and b'"old"' in request.body and version["inputs"][0]["name"] == "x":
            return reply({"error": "unknown input 'old'"}, 400)
        return model(metadata={**METADATA, **version})(request)

    there = server(answer)
    with Client(there.url) as client:
        client.predict("digits", [[1, 2]])
        version["inputs"] = METADATA["inputs"]
        assert client.predict("digits", [[1, 2]])["sum"].tolist() == [3]
        with pytest.raises(errors.InvalidArgument, match="lack the columns 'b'"):
            client.predict("digits", {"a": [1]})


def test_a_foreign_server(server):
    """MLServer's habits: no extensions, no declared tensors, nulls and unknown keys."""
    bare = {"name": "m", "platform": "", "versions": None, "inputs": [], "outputs": [], "extra": 1}
    answer = {
        "model_name": "m",
        "id": "1",
        "parameters": {},
        "outputs": [
            {
                "name": "predict",
                "shape": [2, 1],
                "datatype": "INT64",
                "parameters": {"content_type": "np"},
                "data": [1, 2],
            }
        ],
    }

    def respond(request):
        if request.path == "/v2":
            return reply({"name": "mlserver", "version": "1", "extensions": []})
        return reply(answer if request.path.endswith("infer") else bare)

    there = server(respond)
    with Client(there.url) as client:
        assert np.asarray(client.predict("m", [[1.0, 2.0]])).tolist() == [[1], [2]]
    sent = msgspec.json.decode(there.requests[-1].body)
    assert sent["inputs"] == [{"name": "input-0", "datatype": "FP64", "shape": [1, 2], "data": [1.0, 2.0]}]


def test_nonsense_answers(server):
    there = server(lambda request: (200, {}, b"<html>"))
    with Client(there.url) as client:
        for call in (lambda: client.metadata("m"), client.models, client.server):
            with pytest.raises(errors.Internal, match="cannot be read"):
                call()


def test_timeout_is_checked():
    with pytest.raises(errors.InvalidArgument, match="timeout"):
        Client("http://h", timeout=0)
