"""What the platform asks of a replica on its Unix socket: counts, and answers that it was told to keep."""

import json
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import grpc
import httpx
import msgspec
import numpy as np
import pytest

from argosy.protocol import grpc as wire
from argosy.serving import answers
from argosy.serving.answers import MOST, Answers
from argosy.serving.counts import ReplicaCounts
from argosy.spec.errors import Unavailable
from argosy.spec.tensor import Tensor
from tests.serving.engines import Identity


@pytest.fixture
def replica(run_replica: Any) -> Iterator[Any]:
    with tempfile.TemporaryDirectory() as folder:
        engines = {"floats": Identity(shape=(-1, 1)), "texts": Identity("BYTES", (-1,))}
        yield run_replica(engines, folder=Path(folder))


@pytest.fixture
def client(replica: Any) -> Iterator[httpx.Client]:
    transport = httpx.HTTPTransport(uds=replica.http.path)
    with httpx.Client(transport=transport, base_url="http://replica") as opened:
        yield opened


def ask(client: httpx.Client, *values: float, headers: dict[str, str] | None = None) -> httpx.Response:
    body = {"inputs": [{"name": "x", "datatype": "FP32", "shape": [len(values), 1], "data": list(values)}]}
    return client.post("/v2/models/floats/infer", json=body, headers=headers)


def counted(client: httpx.Client) -> dict[str, dict[str, ReplicaCounts]]:
    return msgspec.json.decode(client.get("/argosy/counts").content, type=dict[str, dict[str, ReplicaCounts]])


def handed(client: httpx.Client) -> answers.RecordedAnswers:
    return answers.read(client.post("/argosy/answers").content)


def test_counts_tell_requests_failures_latency_and_predictions(client: httpx.Client) -> None:
    assert ask(client, 1.0, 4.0, 1e-12).status_code == 200
    assert ask(client, -1.0).status_code == 500
    assert client.post("/v2/models/floats/infer", json={"inputs": []}).status_code == 400
    found = counted(client)["floats"]["1"]
    assert (found.requests, found.errors) == (2, 1)
    assert sum(found.latency.values()) == 1
    assert (found.work.answered, found.work.queued) == (2, 0)
    assert found.work.engine > 0
    assert found.work.loop > 0
    assert found.outputs == {"y": {"+0": 1, "+4": 1, "0": 1}}
    assert counted(client)["texts"]["1"].outputs == {"y": {}}


def test_only_marked_requests_are_kept_and_handed_out_once(client: httpx.Client) -> None:
    marked = {"x-argosy-record": "1"}
    ask(client, 5.0)
    began = time.perf_counter_ns()
    ask(client, 2.0, 3.0, headers=marked | {"x-request-id": "a"})
    took = time.perf_counter_ns() - began
    ask(client, -1.0, headers=marked | {"x-request-id": "b"})
    good, bad = handed(client).answers
    assert (good.id, good.code, bad.id, bad.code, bad.outputs) == ("a", "ok", "b", "internal", None)
    assert good.outputs is not None
    tensor = good.outputs[0].tensor()
    assert (tensor.name, tensor.array.tolist()) == ("y", [[2.0], [3.0]])
    assert 0 < good.ns <= took
    assert handed(client) == answers.RecordedAnswers()


def test_grpc_calls_are_kept_too(replica: Any, client: httpx.Client) -> None:
    request = wire.InferRequest(model_name="texts")
    tensor = request.inputs.add(name="x", datatype="BYTES", shape=[1])
    tensor.contents.bytes_contents.append(b"hello")
    with grpc.insecure_channel(f"unix:{replica.grpc.path}") as channel:
        call = channel.unary_unary(f"/{wire.SERVICE}/ModelInfer")
        metadata = (("x-argosy-record", "1"), ("x-request-id", "g"))
        call(request.SerializeToString(), metadata=metadata, timeout=60)
        request.inputs[0].datatype = "FP32"
        with pytest.raises(grpc.RpcError):
            call(request.SerializeToString(), metadata=metadata, timeout=60)
    first = handed(client).answers[0]
    assert first.id == "g"
    assert first.outputs is not None
    assert first.outputs[0].tensor().array.tolist() == [b"hello"]


def test_nothing_of_it_on_a_port(run_replica: Any) -> None:
    url = run_replica({"floats": Identity(shape=(-1, 1))}).url
    assert httpx.get(f"{url}/argosy/counts").status_code == 404
    assert httpx.post(f"{url}/argosy/answers").status_code == 404
    assert "is nothing at" in json.loads(httpx.get(f"{url}/argosy/counts").content)["error"]


def test_other_paths_are_unknown(client: httpx.Client) -> None:
    assert client.get("/argosy/answers").status_code == 404
    assert client.get("/argosy/else").status_code == 404


def test_the_newest_answers_stay() -> None:
    recorded = Answers()
    for number in range(MOST + 3):
        recorded.record(str(number), 1, Unavailable("no"))
    found = answers.read(recorded.take())
    assert (len(found.answers), found.answers[0].id, found.dropped) == (MOST, "3", 3)


def test_large_answers_are_told_without_their_outputs() -> None:
    from argosy.protocol.rest import Response

    recorded = Answers()
    recorded.record("a", 1, Response("m", "1", [Tensor("y", "UINT8", np.zeros(answers.MOST_OF_ONE + 1, "u1"))]))
    assert answers.read(recorded.take()).answers == (answers.RecordedAnswer("a", "ok", 1),)
