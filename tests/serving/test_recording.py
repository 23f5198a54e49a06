"""A replica beside a recorder that is there, lags, goes away, or never was: what it gets, what counts as lost."""

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest

from argosy.engines.base import Engine
from argosy.protocol.rest import Request
from argosy.serving import frames, line, pipe, recording
from argosy.serving.frames import HEAD, Hello, Orders
from argosy.serving.line import Door, SocketDoor, UpgradeDoor
from argosy.serving.model import ServedModel
from argosy.serving.recording import Recording
from argosy.spec.endpoint import Runtime
from argosy.spec.errors import ArgosyError, InvalidArgument
from argosy.spec.signature import Signature, TensorSpec
from argosy.spec.tensor import Array, Tensor
from argosy.store.payloads.record import Rows

ALL = Orders(sample=1.0)


class Doubler(Engine):
    """y = 2x; rows below 0 are refused."""

    def __init__(self, width: int = 2) -> None:
        self.signature = Signature(
            inputs=(TensorSpec(name="x", datatype="FP32", shape=(-1, width)),),
            outputs=(TensorSpec(name="y", datatype="FP32", shape=(-1, width)),),
        )

    def predict(self, inputs: Any) -> list[Array]:
        if (inputs["x"] < 0).any():
            raise ValueError("below 0")
        return [inputs["x"] * 2]

    def close(self) -> None:
        pass


class Recorder:
    """What a recorder does, in the test's own loop. Reads nothing before `reading` is set."""

    def __init__(self, path: Path, orders: Orders) -> None:
        self.path, self.orders = path, orders
        self.door: Door
        self.reaching: asyncio.Task[None]
        self.found: list[Rows] = []
        self.hello: Hello | None = None
        self.reading = asyncio.Event()
        self.reading.set()
        self.writers: list[asyncio.StreamWriter] = []

    async def start(self) -> "Recorder":
        """Connect whenever nothing is connected, as a recorder does."""
        self.reaching = asyncio.create_task(self._reach())
        return self

    async def _reach(self) -> None:
        while True:
            with contextlib.suppress(OSError):
                await self._serve(*await asyncio.open_unix_connection(str(self.path), limit=2**16))
            await asyncio.sleep(0.005)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.writers.append(writer)
        try:
            while True:
                head, body = frames.sizes(await reader.readexactly(HEAD.size))
                found = frames.read(await reader.readexactly(head), await reader.readexactly(body))
                if isinstance(found, Hello):
                    self.hello = found
                    writer.write(frames.encode(self.orders))
                elif isinstance(found, Rows):
                    self.found.append(found)
                await self.reading.wait()
        except (EOFError, OSError):
            writer.close()

    def stop(self) -> None:
        self.reaching.cancel()
        for writer in self.writers:
            writer.transport.abort()

    @property
    def requests(self) -> list[dict[str, Any]]:
        """All that came, request by request."""
        found: list[dict[str, Any]] = []
        for rows in self.found:
            start = 0
            failures = rows.failures or [None] * len(rows.ids)
            for one, id, failure in zip(rows.requests, rows.ids, failures, strict=True):
                where = slice(start, start := start + int(one["rows"]))
                sides = {name: a[where] for side in (rows.inputs, rows.outputs) for name, a in side.items()}
                found.append({"id": id, "failure": failure, **{name: one[name] for name in one.dtype.names}, **sides})
        return found


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(recording, "SECONDS", 0.02)


class Given(asyncio.Protocol):
    """Gives each connection away, as an upgrade does."""

    def __init__(self, door: UpgradeDoor) -> None:
        self.door = door

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.door.give(cast("asyncio.Transport", transport))


@pytest.fixture(params=["socket", "upgrade"])
async def recorder(tmp_path: Path, request: pytest.FixtureRequest) -> AsyncIterator[Recorder]:
    made = Recorder(tmp_path / "s", ALL)
    if request.param == "socket":
        made.door = SocketDoor(str(made.path))
    else:
        made.door = door = UpgradeDoor()
        server = await asyncio.get_running_loop().create_unix_server(lambda: Given(door), str(made.path))
    yield made
    if hasattr(made, "reaching"):
        made.stop()
    made.door.close()
    if request.param == "upgrade":
        server.close()


def model(recorder: Recorder, width: int = 2, inline: bool = True, **runtime: Any) -> ServedModel:
    served = ServedModel("m", "1", Doubler(width), Runtime(**runtime), platform="t", inline=inline)
    hello = Hello(replica="r", endpoint="m", version="1", package="/p")
    served.watch(Recording(recorder.door, hello, served.signature, served.runtime.max_batch_size))
    return served


def log_of(served: ServedModel) -> Recording:
    assert served.recording is not None
    return served.recording


async def until(condition: Any) -> None:
    async with asyncio.timeout(60):
        while not condition():
            await asyncio.sleep(0.005)


async def ordered(served: ServedModel, orders: Orders = ALL) -> None:
    await until(lambda: log_of(served)._orders == orders)


async def ask(served: ServedModel, x: Array, id: str | None = None) -> Any:
    return await served.infer(Request([Tensor("x", "FP32", x)], id=id))


def headers(id: str) -> dict[bytes, bytes]:
    return {b"x-request-id": id.encode()}


def row(value: float, rows: int = 1, width: int = 2) -> Array:
    return np.full((rows, width), value, "f4")


@pytest.mark.parametrize("inline", [True, False])
async def test_every_request_comes_with_what_was_answered(recorder: Recorder, inline: bool):
    await recorder.start()
    served = model(recorder, inline=inline)
    await ordered(served)
    assert recorder.hello == Hello(replica="r", endpoint="m", version="1", package="/p")
    took: list[int] = []
    for k in range(300):
        begun = time.perf_counter_ns()
        await ask(served, row(k, rows=1 + k % 3), f"id{k}")
        took.append(time.perf_counter_ns() - begun)
    await served.infer(Request([Tensor("x", "FP32", row(7))]), None, {b"x-request-id": b"gateway"})
    await served.close()
    await until(lambda: len(recorder.requests) >= 301)
    found = {one["id"]: one for one in recorder.requests}
    assert len(recorder.requests) == len(found) == 301
    for k in range(300):
        one = found[f"id{k}"]
        assert (one["x"] == row(k, rows=1 + k % 3)).all()
        assert (one["y"] == one["x"] * 2).all()
        assert (one["code"], one["weight"]) == (200, 1)
        assert 0 < one["latency"] <= took[k]
    assert found["gateway"]["x"].tolist() == [[7, 7]]
    assert (log_of(served).sent, log_of(served).dropped) == (301, 0)


async def test_a_request_of_more_rows_than_a_batch_comes_whole(recorder: Recorder):
    await recorder.start()
    served = model(recorder, max_batch_size=4)
    await ordered(served)
    large = np.arange(22, dtype="f4").reshape(11, 2)
    await asyncio.gather(ask(served, large, "large"), ask(served, row(1), "small"))
    await served.close()
    await until(lambda: len(recorder.requests) >= 2)
    found = {one["id"]: one for one in recorder.requests}
    assert found["large"]["rows"] == 11
    assert (found["large"]["y"] == large * 2).all()
    assert found["small"]["x"].tolist() == [[1, 1]]
    assert len(recorder.requests) == 2


async def test_failures_are_kept_whatever_the_sample(recorder: Recorder):
    recorder.orders = Orders(sample=0.0)
    await recorder.start()
    served = model(recorder)
    await ordered(served, recorder.orders)
    await ask(served, row(1), "good")
    for x, id in ((row(-1), "engine"), (row(1, width=3), "shape")):
        with pytest.raises(ArgosyError):
            await ask(served, x, id)
    with pytest.raises(ArgosyError):
        await served.infer(Request([Tensor("x", "FP32", row(1))], id="late"), 0.0)
    served.refused(ValueError("a bug"), headers("unread"))
    await served.close()
    await until(lambda: len(recorder.requests) >= 4)
    found = {one["id"]: one for one in recorder.requests}
    assert {id: one["code"] for id, one in found.items()} == {"engine": 500, "shape": 400, "late": 504, "unread": 500}
    assert {one["weight"] for one in found.values()} == {1}
    assert found["engine"]["x"].tolist() == [[-1, -1]]
    assert "y" not in found["engine"]
    assert found["shape"]["rows"] == 0
    assert found["engine"]["failure"] == ("internal", "the model failed: ValueError: below 0")
    assert found["shape"]["failure"][0] == "invalid_argument"
    assert found["late"]["failure"] == ("deadline_exceeded", "the deadline passed before the request arrived")
    assert found["unread"]["failure"] == ("internal", "")


async def test_the_message_of_an_error_is_bounded(recorder: Recorder):
    await recorder.start()
    served = model(recorder)
    await ordered(served)
    served.refused(InvalidArgument("x" * 10_000), headers("long"))
    served.refused(InvalidArgument("y"), headers("short"))
    await ask(served, row(1), "good")
    await served.close()
    await until(lambda: len(recorder.requests) == 3)
    found = {one["id"]: one["failure"] for one in recorder.requests}
    assert found == {"long": ("invalid_argument", "x" * 500), "short": ("invalid_argument", "y"), "good": None}


@pytest.mark.parametrize("inline", [True, False])
async def test_a_sample_weighs_what_it_stands_for(recorder: Recorder, inline: bool):
    recorder.orders = Orders(sample=0.25, errors=False)
    await recorder.start()
    served = model(recorder, inline=inline)
    await ordered(served, recorder.orders)
    for start in range(0, 2000, 20):
        await asyncio.gather(*(ask(served, row(k), f"id{k}") for k in range(start, start + 20)))
    await served.close()
    await until(lambda: sum(len(one.ids) for one in recorder.found) == log_of(served).sent)
    assert {one["weight"] for one in recorder.requests} == {4}
    assert 380 < len(recorder.requests) < 620
    assert all(one["id"] == f"id{int(one['x'][0, 0])}" for one in recorder.requests)


async def test_profiles_get_every_row_and_no_id(recorder: Recorder):
    recorder.orders = Orders(profiles=True)
    await recorder.start()
    served = model(recorder)
    await ordered(served, recorder.orders)
    for k in range(20):
        await ask(served, row(k), f"id{k}")
    with pytest.raises(ArgosyError):
        await ask(served, row(-1))
    await served.close()
    await until(lambda: len(recorder.requests) >= 20)
    assert [one["x"][0, 0] for one in recorder.requests] == list(range(20))
    assert {(one["id"], one["weight"]) for one in recorder.requests} == {("", 0)}
    assert log_of(served).sent == 0


async def test_without_a_recorder_nothing_is_held_and_nothing_counts_as_lost(recorder: Recorder):
    served = model(recorder)
    for k in range(50):
        await ask(served, row(k))
    assert (log_of(served).sent, log_of(served).dropped) == (0, 0)
    await served.close()


async def test_a_recorder_that_does_not_read_costs_records_and_no_request(
    recorder: Recorder, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(pipe, "MOST_BYTES", 2**20)
    monkeypatch.setattr(recording, "BLOCK_BYTES", 2**18)
    monkeypatch.setattr(pipe, "BLOCK_BYTES", 2**18)
    monkeypatch.setattr(line, "_SEND", 2**16)
    await recorder.start()
    recorder.reading.clear()
    served = model(recorder, width=4096)
    await ordered(served)
    for k in range(600):
        await ask(served, row(k, width=4096), f"id{k}")
        if k % 50 == 0:
            served.batcher.observer.flush()
    lost = log_of(served).dropped
    assert lost > 0
    recorder.reading.set()
    await until(lambda: len(recorder.requests) >= log_of(served).sent)
    await ask(served, row(1, width=4096), "after")
    served.batcher.observer.flush()
    await until(lambda: recorder.requests[-1]["id"] == "after")
    await served.close()
    assert len(recorder.requests) == log_of(served).sent
    assert log_of(served).sent + log_of(served).dropped == 601
    assert all(
        (one["x"] == float(one["id"].removeprefix("id").replace("after", "1"))).all() for one in recorder.requests
    )


async def test_a_recorder_that_died_is_found_again(recorder: Recorder):
    await recorder.start()
    served = model(recorder)
    await ordered(served)
    recorder.stop()
    await until(lambda: log_of(served)._pipe._line is None)
    await ask(served, row(1), "lost")
    served.batcher.observer.flush()
    await until(lambda: log_of(served).dropped == 1)
    await recorder.start()
    await until(lambda: log_of(served)._pipe._line is not None)
    await ask(served, row(2), "kept")
    await served.close()
    await until(lambda: recorder.requests)
    assert [one["id"] for one in recorder.requests] == ["kept"]


async def test_nonsense_from_a_recorder_ends_the_connection(recorder: Recorder):
    await recorder.start()
    served = model(recorder)
    await ordered(served)
    recorder.writers[0].write(b"\0" * 100)
    await until(lambda: len(recorder.writers) == 2 and log_of(served)._pipe._line is not None)
    await ordered(served)
    await ask(served, row(2), "kept")
    await served.close()
    await until(lambda: recorder.requests)


async def test_a_flood_of_failures_is_bounded(recorder: Recorder, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(recording, "MOST_FAILED", 10)
    await recorder.start()
    served = model(recorder)
    await ordered(served)
    for k in range(25):
        served.refused(ValueError(), headers(f"id{k}"))
    await served.close()
    await until(lambda: len(recorder.requests) >= 10)
    assert log_of(served).dropped == 15
