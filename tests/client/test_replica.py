"""Both clients against a real replica, on a Unix socket."""

import asyncio

import numpy as np
import pytest

from argosy.client import AsyncClient, Client
from argosy.client.local import load, locate
from argosy.packaging.options import PushOptions
from argosy.serving.config import ModelConfig, ReplicaConfig
from argosy.serving.server import Replica
from argosy.spec.address import Address
from argosy.spec.errors import InvalidArgument, NotFound
from argosy.spec.tensor import tensor
from tests.cli.models import linear


@pytest.fixture
def package(tmp_path):
    """A model whose three columns have names, because its sample has."""
    (tmp_path / "rows.csv").write_text("a,b,c\n1,2,3\n4,5,6.5\n")
    located = locate(linear(tmp_path / "lin.onnx"), PushOptions(sample=tmp_path / "rows.csv"))
    yield located
    located.release()


@pytest.fixture
async def address(package, tmp_path):
    model = ModelConfig(name="lin", package=str(package.folder))
    replica = Replica(ReplicaConfig(models=(model,), http=Address(path=str(tmp_path / "r.sock"))))
    await replica.start()
    yield f"unix:{tmp_path / 'r.sock'}"
    await replica.drain()


async def test_async(address):
    async with AsyncClient(address) as client:
        assert await client.live()
        assert await client.ready("lin")
        assert not await client.ready("nil")
        metadata = await client.metadata("lin")
        assert metadata.inputs[0].columns == ("a", "b", "c")
        rows = [{"c": 3, "a": 1, "b": 2}, {"a": 4, "b": 5, "c": 6.5}]
        answers = await asyncio.gather(*(client.predict("lin", rows, binary=binary) for binary in (True, False)))
        assert [answer.y.tolist() for answer in answers] == [[[6], [15.5]]] * 2
        response = await client.infer("lin", [tensor("x", np.ones((1, 3), "f4"))], outputs=["y"], id="é")
        assert (response.id, response.tensors[0].array.tolist()) == ("é", [[3]])
        with pytest.raises(InvalidArgument, match="lack the columns 'b'"):
            await client.predict("lin", {"a": [1], "c": [2]})
        with pytest.raises(InvalidArgument):
            await client.infer("lin", [tensor("x", np.full((1, 3), 1e39))])
        with pytest.raises(NotFound):
            await client.predict("lin", [[1, 2, 3]], version=9)
        assert [model["name"] for model in await client.models()] == ["lin"]
        assert (await client.server())["name"] == "argosy"


async def test_same_answer_in_this_process(address, package):
    x = np.random.default_rng(0).normal(size=(7, 3)).astype("f4")

    def remote():
        with Client(address) as client:
            return client.predict("lin", x)

    local = load(package.folder)
    assert (await asyncio.to_thread(remote)).y.tobytes() == local.predict(x).y.tobytes()
    local.close()
