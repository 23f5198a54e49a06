"""Of requests that are no tensors of the model's own, its payload log has what the model got."""

import json
from collections.abc import AsyncIterator
from typing import Any

import httpx
import numpy as np
import pytest

from argosy.serving.config import ModelConfig, ReplicaConfig
from argosy.serving.frames import Hello
from argosy.serving.model import ServedModel
from argosy.serving.recording import Recording
from argosy.serving.server import Replica
from argosy.spec.address import Address
from argosy.spec.endpoint import Runtime
from argosy.spec.signature import Signature, TensorSpec
from tests.serving.test_recording import Doubler, Recorder, ordered, quick, recorder, until

__all__ = ["quick", "recorder"]

JSON = "application/json"


def tensors(inputs: dict[str, tuple[str, Any]]) -> dict[str, Any]:
    """A request of the protocol."""
    shapes = {name: np.shape(data) for name, (_, data) in inputs.items()}
    return {
        "inputs": [
            {"name": name, "datatype": datatype, "shape": shapes[name], "data": data}
            for name, (datatype, data) in inputs.items()
        ]
    }


class Named(Doubler):
    """y = 2x, of two columns with names."""

    def __init__(self) -> None:
        super().__init__()
        spec = TensorSpec(name="x", datatype="FP32", shape=(-1, 2), columns=("a", "b"))
        self.signature = Signature(inputs=(spec,), outputs=self.signature.outputs)


ROWS: dict[str, tuple[str, str, Any]] = {
    "v1": ("/v1/models/m:predict", JSON, {"instances": [{"b": 2, "a": 1}]}),
    "v1-lists": ("/v1/models/m:predict", JSON, {"inputs": [[1, 2]]}),
    "rows": ("/invocations", JSON, [{"a": 1, "b": 2}]),
    "row": ("/endpoints/m/invocations", JSON, {"b": "2", "a": True}),
    "split": ("/invocations", JSON, {"dataframe_split": {"columns": ["b", "a"], "data": [[2, 1]]}}),
    "csv": ("/invocations", "text/csv", "b,a\n2,1\n"),
    "named": ("/v2/models/m/infer", JSON, tensors({"b": ("INT64", [2]), "a": ("FP64", [1.0])})),
    "cast": ("/v2/models/m/infer", JSON, tensors({"other": ("INT8", [[1, 2]])})),
}


@pytest.fixture
async def replica(recorder: Recorder) -> AsyncIterator[httpx.AsyncClient]:
    """A client of a replica that records."""
    await recorder.start()

    async def load(config: ModelConfig, runtime: Runtime) -> ServedModel:
        served = ServedModel("m", "1", Named(), runtime, platform="t", inline=True)
        served.watch(
            Recording(recorder.door, Hello(replica="r", endpoint="m", version="1", package="/p"), served.signature, 64)
        )
        return served

    running = Replica(ReplicaConfig(models=(ModelConfig(name="m", package="-"),), http=Address()), load)
    address, _ = await running.start()
    await ordered(running.plane.get("m"))
    async with httpx.AsyncClient(base_url=f"http://{address}") as client:
        yield client
    await running.drain()


async def test_of_rows_is_recorded_what_the_model_got(recorder: Recorder, replica: httpx.AsyncClient):
    for id, (path, kind, body) in ROWS.items():
        text = body if isinstance(body, str) else json.dumps(body)
        answer = await replica.post(path, content=text, headers={"content-type": kind, "x-request-id": id})
        assert answer.status_code == 200, (id, answer.text)
    refused = await replica.post("/invocations", json=[{"a": 1, "c": 2}], headers={"x-request-id": "refused"})
    assert refused.status_code == 400
    await until(lambda: len(recorder.requests) > len(ROWS))
    found = {one["id"]: one for one in recorder.requests}
    assert found.keys() == {*ROWS, "refused"}
    for id in ROWS:
        one = found[id]
        assert (one["code"], one["x"].tolist(), one["y"].tolist()) == (200, [[1, 2]], [[2, 4]]), id
        assert (one["x"].dtype, one["rows"]) == ("f4", 1)
    assert (found["refused"]["code"], found["refused"]["rows"]) == (400, 0)
    assert "'c'" in found["refused"]["failure"][1]
