"""The platform's own tasks go on."""

import asyncio
import logging

import pytest

from argosy.platform.supervisor import Supervisor
from argosy.targets.backoff import BackoffPolicy

AT_ONCE = BackoffPolicy(first=0.001, cap=0.002)


async def test_a_task_that_ends_begins_again_and_is_counted(caplog: pytest.LogCaptureFixture):
    runs, well = 0, asyncio.Event()

    async def work() -> None:
        nonlocal runs
        runs += 1
        if runs < 4:
            raise ZeroDivisionError("no such luck")
        if runs == 4:
            return
        well.set()
        await asyncio.Event().wait()

    supervisor = Supervisor(AT_ONCE)
    with caplog.at_level(logging.ERROR):
        task = supervisor.begin("work", work)
        assert supervisor.restarts == {"work": 0}
        await asyncio.wait_for(well.wait(), 60)
    assert supervisor.restarts == {"work": 4}
    assert [bool(each.exc_info) for each in caplog.records] == [True, False, False, False], "told whole once"
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


async def test_pauses_grow():
    times: list[float] = []
    loop, enough = asyncio.get_running_loop(), asyncio.Event()

    async def work() -> None:
        times.append(loop.time())
        if len(times) == 4:
            enough.set()
        raise OSError

    task = Supervisor(BackoffPolicy(first=0.01, factor=4, cap=10)).begin("work", work)
    await asyncio.wait_for(enough.wait(), 60)
    task.cancel()
    assert times[3] - times[2] >= 0.16
