"""What the gateway tells the recorder of requests to language models, with a fake engine behind."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from argosy.gateway import language_routes
from argosy.gateway.gateway import Gateway
from argosy.gateway.model import GatewayConfig
from argosy.monitoring.recorder.intake import Intake, Sent
from argosy.spec.payload import PayloadLog
from tests.gateway.kit import http
from tests.gateway.test_language import CHAT, chat, engine, lines, model

__all__ = ["engine"]
ALL = PayloadLog()


class Told(list[Sent]):
    """What the recorder got."""

    lost = 0

    async def take(self, sent: list[Sent]) -> None:
        """More of it."""
        self.extend(sent)

    async def until(self, count: int) -> list[Sent]:
        """Once so many came, in the order of their time."""
        async with asyncio.timeout(60):
            while len(self) < count:
                await asyncio.sleep(0.05)
        return sorted(self, key=lambda each: each.time)


@pytest.fixture
async def told(folder: Path) -> AsyncIterator[Told]:
    """A recorder at `told.sock`."""
    found = Told()
    task = asyncio.create_task(Intake(folder / "told.sock", found.take, lambda *_: None).run())
    yield found
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


@pytest.fixture
def config(folder: Path, config: GatewayConfig) -> GatewayConfig:
    """Of a gateway with a recorder."""
    return msgspec.structs.replace(config, recorder=str(folder / "told.sock"))


def answer(sent: Sent) -> str:
    """Its text, as JSON has it."""
    return "".join(sent.payload[str(at)] for at in range(1, 100) if str(at) in sent.payload)


def words(count: int) -> str:
    """What the fake engine says."""
    return " ".join(f"w{number}" for number in range(count))


async def test_each_kind_of_request_is_told_with_its_answer(gateway: Gateway, told: Told, engine: Any):
    await gateway.start([model(engine, auth=False, payload=ALL)])
    async with await http(gateway) as client:
        whole = await client.post(CHAT, json=chat(max_tokens=5), headers={"x-request-id": "mine"})
        streamed = await client.post(CHAT, json=chat(max_tokens=200, stream=True, fake={"tokens": 200}))
        explained = await client.post(CHAT, json=chat(max_tokens=4), headers={"x-argosy-explain": "1"})
        plain = await client.post("/v1/completions", json={"model": "gemma", "prompt": "é\n", "stream": True})
        await client.post("/v1/responses", json={"model": "gemma", "input": "hi"})
        await client.post(CHAT, json=chat(fake={"fault": "error"}))
        await client.post("/v1/embeddings", json={"model": "gemma", "input": "hi"})
    assert whole.headers["x-request-id"] == "mine"
    found = await told.until(6)
    assert [(each.endpoint, each.version, each.replica) for each in found] == [("gemma", "1", "r1")] * 6
    assert [answer(each) for each in found] == [words(5), words(200), words(4), words(16), words(16), ""]
    assert [each.code for each in found] == [200, 200, 200, 200, 200, 500]
    assert found[0].request_id == "mine"
    assert found[0].payload["id"] == whole.json()["id"] == explained.json()["id"].replace("3", "1")
    assert found[1].payload["id"] in streamed.text
    assert found[3].payload["id"] in plain.text
    assert [each.payload["kind"] for each in found] == ["messages"] * 3 + ["prompt", "input", "messages"]
    assert msgspec.json.decode(found[0].payload["prompt"]) == chat()["messages"]
    assert msgspec.json.decode(found[3].payload["prompt"]) == "é\n"
    assert found[0].tokens is not None
    assert found[0].tokens.items() >= {"output": 5, "finish": "length"}.items()


async def test_a_stream_that_its_client_left_is_told(gateway: Gateway, told: Told, engine: Any):
    await gateway.start([model(engine, auth=False, payload=ALL)])
    async with await http(gateway) as client:
        body = chat(stream=True, fake={"tokens": 2000, "each": 0.05})
        async with client.stream("POST", CHAT, json=body) as streamed:
            async for line in streamed.aiter_lines():
                if "w2" in line:
                    break
    (found,) = await told.until(1)
    assert (found.code, answer(found)[:8]) == (499, "w0 w1 w2")


async def test_what_is_longer_is_cut_and_says_so(
    gateway: Gateway, told: Told, engine: Any, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(language_routes, "LEAST_RECORDED", 51)
    await gateway.start([model(engine, auth=False, payload=PayloadLog(max_text=1))])
    async with await http(gateway) as client:
        for stream in (True, False):
            await client.post(CHAT, json=chat(stream=stream, messages=[{"role": "user", "content": "é" * 40}]))
        await client.post("/v1/completions", json={"model": "gemma", "prompt": "a", "n": 2})
    one, other, several = await told.until(3)
    for each in (one, other):
        assert each.payload["cut"]
        assert each.payload["prompt"] == '[{"role":"user","content":"' + "é" * 12
        assert answer(each) == words(16)[:51]
    assert (several.payload["cut"], answer(several)) == (True, "")


async def test_a_share_is_drawn_and_failures_are_all_told(gateway: Gateway, told: Told, engine: Any):
    few = PayloadLog(sample=0.3)
    silent = PayloadLog(sample=1e-9, errors=False)
    routes = [model(engine, auth=False, payload=few), model(engine, "silent", auth=False, payload=silent)]
    await gateway.start([*routes, model(engine, "undeclared", auth=False)])
    async with await http(gateway) as client:
        for _ in range(60):
            await client.post(CHAT, json=chat(max_tokens=1))
        for name in ("silent", "undeclared"):
            await client.post(CHAT, json=chat(name))
            await client.post(CHAT, json=chat(name, fake={"fault": "error"}))
        for _ in range(3):
            await client.post(CHAT, json=chat(fake={"fault": "error"}))
    async with asyncio.timeout(60):
        while sum(each.code == 500 for each in told) < 3:
            await asyncio.sleep(0.05)
    found = await told.until(3)  # what came before them has come
    assert [each.code for each in found][-3:] == [500] * 3
    assert 3 <= len(found) - 3 <= 40
    assert {each.endpoint for each in found} == {"gemma"}


async def test_without_a_recorder_nothing_waits_and_what_waits_is_told_later(
    gateway: Gateway, config: GatewayConfig, engine: Any
):
    await gateway.start([model(engine, auth=False, payload=ALL)])
    async with await http(gateway) as client:
        assert (await client.post(CHAT, json=chat(max_tokens=2))).status_code == 200
    await lines(gateway, 1)
    late = Told()
    task = asyncio.create_task(Intake(Path(config.recorder), late.take, lambda *_: None).run())
    (found,) = await late.until(1)
    assert answer(found) == words(2)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
