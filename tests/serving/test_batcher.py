import asyncio
import itertools
from types import SimpleNamespace

import numpy as np
import pytest

from argosy.serving.batcher import Batcher
from argosy.serving.stats import Stats
from argosy.spec.endpoint import Runtime
from argosy.spec.errors import DeadlineExceeded, Internal, Unavailable
from tests.serving.engines import Identity

MODES = pytest.mark.parametrize("inline", [True, False], ids=["inline", "thread"])


def rows(*values):
    return {"x": np.array(values, dtype="f4").reshape(len(values), 1)}


class Caller:
    """Submits and collects."""

    def __init__(self, engine, inline, **settings):
        self.stats = Stats()
        self.batcher = Batcher(engine, Runtime(**settings), self.stats, inline=inline, call_ns=0)

    def submit(self, feeds, timeout=60.0):
        future = asyncio.get_running_loop().create_future()
        first = next(iter(feeds.values()))
        future.job = None
        job = self.batcher.submit(feeds, first.shape[0] if first.ndim else 1, timeout, future.set_result)
        return future, job

    async def ask(self, feeds, timeout=60.0):
        result = await self.submit(feeds, timeout)[0]
        if isinstance(result, Exception):
            raise result
        return result


@pytest.fixture
def engine():
    return Identity()


@MODES
async def test_each_gets_its_own(engine, inline):
    caller = Caller(engine, inline, max_batch_size=8)
    answers = await asyncio.gather(*(caller.ask(rows(*range(n, n + 1 + n % 3))) for n in range(50)))
    for n, (answer,) in enumerate(answers):
        assert answer.ravel().tolist() == list(range(n, n + 1 + n % 3))
    assert max(engine.calls) <= 8
    assert caller.stats.rows == sum(engine.calls) == sum(1 + n % 3 for n in range(50))
    assert sum(caller.stats.released.values()) == len(engine.calls)


async def test_gathers_while_the_engine_is_busy(engine):
    caller = Caller(engine, False, max_batch_size=8)
    engine.gate.clear()
    waiting = [caller.submit(rows(0))[0]]
    while not engine.calls:
        await asyncio.sleep(0.001)
    waiting += [caller.submit(rows(n))[0] for n in range(1, 20)]
    engine.gate.set()
    await asyncio.gather(*waiting)
    assert engine.calls[0] == 1
    assert sum(engine.calls) == 20
    assert len(engine.calls) < 12


@MODES
async def test_one_bad_request_fails_alone(engine, inline):
    caller = Caller(engine, inline)
    results = await asyncio.gather(*(caller.ask(rows(n)) for n in (1, 2, -1, 3)), return_exceptions=True)
    assert [r[0].item() for r in results if isinstance(r, list)] == [1, 2, 3]
    assert isinstance(results[2], Internal)
    assert "ValueError: -1 is not for me" in str(results[2])


@MODES
async def test_shapes_are_never_merged(engine, inline):
    caller = Caller(engine, inline)
    feeds = [{"x": np.full((1, 1 + n % 3), n, "f4")} for n in range(12)]
    answers = await asyncio.gather(*(caller.ask(feed) for feed in feeds))
    assert [a[0].shape for a in answers] == [(1, 1 + n % 3) for n in range(12)]


@MODES
async def test_a_large_request_is_cut_to_the_limit(engine, inline):
    caller = Caller(engine, inline, max_batch_size=4)
    (answer,) = await caller.ask(rows(*range(11)))
    assert answer.ravel().tolist() == list(range(11))
    assert max(engine.calls) <= 4


@MODES
async def test_a_large_request_with_a_bad_row_fails_once(engine, inline):
    caller = Caller(engine, inline, max_batch_size=2)
    with pytest.raises(Internal, match="-1 is not for me"):
        await caller.ask(rows(1, 2, 3, -1, 5, -1))
    assert (await caller.ask(rows(7)))[0].item() == 7


async def test_unbatched_models_run_alone():
    engine = Identity(shape=(-1,), batched=False)
    caller = Caller(engine, True)
    feeds = {"x": np.arange(3, dtype="f4")}
    answers = await asyncio.gather(*(caller.ask(feeds) for _ in range(3)))
    assert len(engine.calls) == 3
    assert answers[0][0].tolist() == [0, 1, 2]


@MODES
async def test_full_queue_is_refused_with_a_time_to_come_back(engine, inline):
    caller = Caller(engine, inline, max_queue_size=3)
    engine.gate.clear()
    waiting = list(itertools.islice((caller.submit(rows(n))[0] for n in itertools.count()), 3))
    if not inline:
        while not engine.calls:
            await asyncio.sleep(0.001)
        waiting += [caller.submit(rows(n))[0] for n in range(3 - caller.batcher.queued)]
    with pytest.raises(Unavailable, match="queue is full") as caught:
        caller.submit(rows(9))
    assert caught.value.retry_after >= 1
    engine.gate.set()
    await asyncio.gather(*waiting)


async def test_deadline_while_another_runs(engine):
    caller = Caller(engine, False)
    engine.gate.clear()
    first = caller.submit(rows(1))[0]
    while not engine.calls:
        await asyncio.sleep(0.001)
    with pytest.raises(DeadlineExceeded):
        await caller.ask(rows(2), timeout=0.05)
    engine.gate.set()
    assert (await first)[0].item() == 1
    assert engine.calls == [1]


@MODES
async def test_cancelled_jobs_never_reach_the_engine(engine, inline):
    caller = Caller(engine, inline)
    engine.gate.clear() if not inline else None
    first = caller.submit(rows(1))[0]
    if not inline:
        while not engine.calls:
            await asyncio.sleep(0.001)
    gone, job = caller.submit(rows(2))
    job.cancel()
    last = caller.submit(rows(3))[0]
    engine.gate.set()
    await asyncio.gather(first, last)
    assert sum(engine.calls) == 2
    assert not gone.done()


async def test_callers_who_left_make_room(engine):
    caller = Caller(engine, True, max_queue_size=2)
    gone = [caller.submit(rows(n))[1] for n in range(2)]
    for job in gone:
        job.cancel()
    assert (await caller.ask(rows(3)))[0].item() == 3


@MODES
async def test_max_queue_delay_waits_for_company(engine, inline):
    caller = Caller(engine, inline, max_queue_delay=3600.0, max_batch_size=3)
    await asyncio.gather(*(caller.ask(rows(n)) for n in range(3)))
    assert caller.stats.released["full"] == 1
    caller = Caller(engine, inline, max_queue_delay=1.0, max_batch_size=3)
    await asyncio.gather(*(caller.ask(rows(n)) for n in range(2)))
    assert caller.stats.released["delay"] == 1
    assert engine.calls == [3, 2]


async def test_nan_is_refused_when_asked(engine):
    caller = Caller(engine, True, allow_nan=False)
    with pytest.raises(Internal, match="NaN"):
        await caller.ask(rows(float("nan")))
    assert (await caller.ask(rows(1)))[0].item() == 1


async def test_slow_calls_move_to_the_thread():
    engine = Identity(seconds=0.002)
    caller = Caller(engine, True)
    for n in range(20):
        await caller.ask(rows(n))
    assert not caller.batcher.inline


async def test_a_model_that_exits_is_an_error(engine):
    engine.predict = lambda inputs: exit(3)
    caller = Caller(engine, False)
    with pytest.raises(Internal, match="SystemExit"):
        await caller.ask(rows(1))


async def test_stuck_for(engine):
    caller = Caller(engine, False)
    assert caller.batcher.stuck_for() == 0
    engine.gate.clear()
    waiting = caller.submit(rows(1))[0]
    while caller.batcher.stuck_for() < 0.01:
        await asyncio.sleep(0.005)
    engine.gate.set()
    await waiting


async def test_closed(engine):
    caller = Caller(engine, False)
    waiting = caller.submit(rows(1))[0]
    caller.batcher.close()
    with pytest.raises(Unavailable, match="unloaded"):
        caller.submit(rows(2))
    assert (await waiting)[0].item() == 1


def test_a_worker_outlives_its_loop(engine):
    """The loop of a replica that gives up on a slow model is closed while the model still computes."""

    async def leave():
        caller = Caller(engine, False)
        engine.gate.clear()
        caller.submit(rows(1))
        while not engine.calls:
            await asyncio.sleep(0.001)
        caller.batcher.close()
        return caller.batcher

    batcher = asyncio.run(leave())
    engine.gate.set()
    batcher._worker.join(60)
    assert not batcher._worker.is_alive()


async def test_outputs_on_request_share_batches_with_their_like(engine):
    asked = []
    engine.more = lambda feeds, names: asked.append((names, len(feeds["x"]))) or [-feeds["x"] for _ in names]
    caller = Caller(engine, False, max_batch_size=8)
    engine.gate.clear()
    futures = [asyncio.get_running_loop().create_future() for _ in range(5)]
    for number, future in enumerate(futures):
        more = ("minus",) if number > 2 else ()
        call = SimpleNamespace(more=more)
        caller.batcher.submit(rows(number), 1, 10.0, future.set_result, call=call)
        while not number and not caller.batcher.stuck_for():
            await asyncio.sleep(0)
    engine.gate.set()
    found = [[array.ravel().tolist() for array in each] for each in await asyncio.gather(*futures)]
    assert found == [[[0]], [[1]], [[2]], [[3], [-3]], [[4], [-4]]]
    assert asked == [(("minus",), 2)]


class Texts(Identity):
    """Numbers that stand for lengths: a row counts by its own."""

    def weigh(self, inputs, rows):
        return int(inputs["x"].sum())


async def test_a_batch_holds_as_much_as_its_rows_count_for():
    caller = Caller(engine := Texts(), True, max_batch_size=4)
    await asyncio.gather(*(caller.ask(rows(length)) for length in (2, 2, 1, 3, 1, 9, 4)))
    assert engine.calls == [2, 2, 1, 1, 1]


async def test_a_request_that_counts_for_more_than_a_batch_is_cut():
    caller = Caller(engine := Texts(), True, max_batch_size=4)
    (answer,) = await caller.ask(rows(2, 2, 2, 2, 2))
    assert answer.ravel().tolist() == [2, 2, 2, 2, 2]
    assert engine.calls == [2, 2, 1]
