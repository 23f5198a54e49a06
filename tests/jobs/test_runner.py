"""Jobs as processes: they run, die, are tried again, adopted and cancelled."""

import asyncio
import os
import signal
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest

from argosy.jobs import plan, runner
from argosy.jobs.folder import Folder
from argosy.jobs.runner import Jobs
from argosy.spec.batch import BatchJob, Submission
from argosy.spec.errors import Conflict, NotFound
from argosy.spec.settings import BatchSettings, Home
from argosy.store import jobs, ledger
from argosy.store.jobs import Job, Run
from argosy.store.ledger import Cause
from argosy.store.store import Store

WORKER = (sys.executable, str(Path(__file__).with_name("worker.py")))


@pytest.fixture
def made(home: Home, store: Store, monkeypatch: pytest.MonkeyPatch) -> Iterator[Jobs]:
    monkeypatch.setattr(plan, "FIRST_WAIT", 0.1)
    yield Jobs(home, store.database, BatchSettings(), command=WORKER)
    for process in runner.processes(home).values():
        process.kill()


def submit(store: Store, name: str, model: str, schedule: str = "", next: float | None = None) -> None:
    output = "out/{time}" if schedule else "out"
    told = Submission(name=name, batch=BatchJob(model=model, inputs=("in",), output=output), schedule=schedule)
    spec = msgspec.json.encode(told).decode()
    jobs.add(store.database, Job(name=name, spec=spec, created=time.time(), next=next), Cause(actor="ann"))


async def until(made: Jobs, store: Store, name: str, *states: str) -> Run:
    for _ in range(400):
        await made.step()
        found = jobs.runs(store.database, name)
        if found and found[0].state in states:
            return found[0]
        await asyncio.sleep(0.05)
    raise AssertionError(f"{name} is {found}, not {states}")


async def test_a_job_runs_and_says_so(made: Jobs, store: Store, home: Home):
    submit(store, "one", "good")
    done = await until(made, store, "one", "succeeded")
    assert (done.exit, done.attempts) == (0, 1)
    folder = Folder.of(home, done.id)
    assert folder.log.read_text() == "begins good out\n"
    progress = folder.progress()
    assert progress is not None
    assert progress.rate == 0.5
    with store.database.read() as connection:
        events = [each.event for each in ledger.entries(connection, "batch/one")]
    assert events == ["submit", "run"]
    with pytest.raises(Conflict, match="already"):
        submit(store, "one", "good")


async def test_one_that_is_killed_is_tried_again_and_one_that_is_wrong_is_not(made: Jobs, store: Store):
    submit(store, "dies", "dies")
    assert (await until(made, store, "dies", "succeeded")).attempts == 2
    submit(store, "wrong", "wrong")
    failed = await until(made, store, "wrong", "failed", "succeeded")
    assert (failed.state, failed.attempts, failed.error) == ("failed", 1, "there is no column 'x'")


async def test_another_controller_adopts_what_runs(
    made: Jobs, store: Store, home: Home, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(plan, "FIRST_WAIT", 600.0)
    submit(store, "long", "long")
    submit(store, "next", "good")
    await until(made, store, "long", "running")
    while "long-1" not in runner.processes(home):
        await asyncio.sleep(0.05)
    pid = runner.processes(home)["long-1"].pid
    heir = Jobs(home, store.database, BatchSettings(), command=WORKER)
    await heir.start()
    await until(heir, store, "long", "running")
    assert jobs.runs(store.database, "next")[0].state == "queued"
    os.kill(pid, signal.SIGKILL)
    again = await until(heir, store, "next", "succeeded")
    assert again.attempts == 1
    assert jobs.runs(store.database, "long")[0].state in ("queued", "running")


async def test_a_controller_killed_before_the_spawn_leaves_nothing_undone(made: Jobs, store: Store):
    submit(store, "one", "good")
    run = jobs.runs(store.database, "one")[0]
    jobs.note(store.database, msgspec.structs.replace(run, state="running", attempts=1))
    assert (await until(made, store, "one", "succeeded")).attempts == 2


@pytest.mark.parametrize("model", ["long", "stubborn"])
async def test_cancelling_ends_what_runs(made: Jobs, store: Store, monkeypatch: pytest.MonkeyPatch, model: str):
    monkeypatch.setattr(runner, "DRAIN", 0.5)
    submit(store, "one", model)
    await until(made, store, "one", "running")
    await asyncio.sleep(0.5)
    jobs.cancel(store.database, "one", time.time(), Cause(actor="ann", reason="too dear"))
    jobs.cancel(store.database, "one", time.time(), Cause(actor="bob"))
    assert (await until(made, store, "one", "cancelled", "queued")).state == "cancelled"
    with pytest.raises(NotFound, match="batch ls"):
        jobs.cancel(store.database, "none", time.time(), Cause())


async def test_a_schedule_queues_a_run_for_each_moment(made: Jobs, store: Store, home: Home):
    due = time.time() - 1
    submit(store, "nightly", "good", "0 * * * *", due)
    done = await until(made, store, "nightly", "succeeded")
    assert done.due == due
    stamp = time.strftime("%Y%m%dT%H%M%S", time.gmtime(due))
    assert Folder.of(home, done.id).log.read_text() == f"begins good out/{stamp}\n"
    job = jobs.get(store.database, "nightly")
    assert job.next is not None
    assert 0 < job.next - due <= 3601


async def test_the_end_of_the_platform_lets_a_run_go_on_next_time(made: Jobs, store: Store, home: Home):
    submit(store, "long", "long")
    await until(made, store, "long", "running")
    await asyncio.sleep(0.5)
    await made.stop()
    assert runner.processes(home) == {}
    waits = jobs.runs(store.database, "long")[0]
    assert (waits.state, waits.attempts) == ("queued", 0)
