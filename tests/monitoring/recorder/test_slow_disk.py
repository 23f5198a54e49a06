"""A disk that takes its time costs records, which are counted, and holds up no replica."""

import asyncio
import threading
from pathlib import Path
from typing import Any

import pytest

from argosy.monitoring.recorder import writer
from argosy.monitoring.recorder.server import Server
from argosy.spec.payload import PayloadLog
from argosy.spec.recorder import RecordedEndpoint
from argosy.spec.settings import Home
from argosy.store.payloads import layout, segment
from argosy.store.payloads.query import Query, read
from tests.monitoring.recorder import shop
from tests.monitoring.recorder.feeder import OPEN, Feeder, tell

SENT, EACH = 60, 50


async def test_a_slow_disk_costs_records_and_nobody_waits(
    tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
):
    home = Home(tmp_path_factory.mktemp("h")).create()
    package = tmp_path_factory.mktemp("p") / "package"
    shop.write(package)
    tell(home, shop=RecordedEndpoint(payload=PayloadLog(flush=0.2), profiles=False))
    real, turns = segment.write, threading.Event()

    def slow(*arguments: Any) -> list[Path]:
        turns.wait(60)
        return real(*arguments)

    monkeypatch.setattr(segment, "write", slow)
    monkeypatch.setattr(writer, "MOST_BYTES", 30_000)
    server, stop = Server(home), asyncio.Event()
    running = asyncio.create_task(server.run(stop))
    feeder = await asyncio.to_thread(Feeder, home, package)
    for _ in range(SENT):
        await asyncio.to_thread(feeder.send, EACH)
        await asyncio.sleep(0.02)
    async with asyncio.timeout(60):
        while not any(buffer and buffer.dropped for buffer in server._buffers.values()):
            await asyncio.sleep(0.02)
    await asyncio.to_thread(Feeder, home, package, "r1")
    assert layout.segments(home.payloads) == [], "all was sent, and another replica has its orders, before a write"
    turns.set()
    stop.set()
    await running
    while OPEN:
        OPEN.pop().close()
    found = server.report
    assert found.dropped > 0
    assert found.records + found.dropped == SENT * EACH
    assert len(read(home.payloads, Query(endpoint="shop")).table) == found.records
    assert segment.quarantine(home.payloads, [each.key for each in layout.segments(home.payloads)], deep=True) == []
