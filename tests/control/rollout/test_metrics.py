"""Users' metrics: what is asked, how fast, what is handed on, and that nobody waits for it."""

import asyncio
from collections.abc import Callable

import msgspec
import pytest

from argosy.control.rollout.evidence import Evidence
from argosy.control.rollout.metrics import Asked, Key, Metrics, asked, filled
from argosy.monitoring.analysis import evidence
from argosy.spec.endpoint import Endpoint
from argosy.spec.errors import Unavailable
from argosy.spec.guard import Guard, Metric
from argosy.spec.revision import Revision
from argosy.store.endpoints import Declared, Progress, RolloutPhase, Serving

METRIC = Metric(name="score", query='score{r="$revision"}')
KEY: Key = ("digits", 1, "score")
WANTED = {KEY: Asked(metric=METRIC, candidate="new", stable="old")}


class Source:
    """Numbers by query; an exception is raised, and `gate` holds every answer back."""

    def __init__(self, **numbers: float | Exception | None) -> None:
        self.numbers, self.asked, self.closed = numbers, list[tuple[str, float]](), False
        self.gate = asyncio.Event()
        self.gate.set()

    async def number(self, query: str, at: float) -> float | None:
        self.asked.append((query, at))
        await self.gate.wait()
        found = self.numbers[query]
        if isinstance(found, Exception):
            raise found
        return found

    async def close(self) -> None:
        self.closed = True


class Time:
    """A clock that stands still until it is moved on; who sleeps wakes when its time has come."""

    def __init__(self) -> None:
        self.now, self._sleepers = 100.0, list[tuple[float, asyncio.Future[None]]]()

    def clock(self) -> float:
        return self.now

    async def sleep(self, seconds: float) -> None:
        waking = asyncio.get_running_loop().create_future()
        self._sleepers.append((self.now + seconds, waking))
        await waking

    async def pass_(self, seconds: float) -> None:
        await settle()
        self.now += seconds
        for due, waking in self._sleepers:
            if due <= self.now and not waking.done():
                waking.set_result(None)
        await settle()


async def settle() -> None:
    for _ in range(20):
        await asyncio.sleep(0)


def metrics(source: Source | None) -> tuple[Metrics, Time]:
    time = Time()
    return Metrics(source, time.clock, time.sleep), time


async def test_a_number_is_handed_on_once_and_the_next_asked_for_at_its_pace():
    source = Source(new=2.0, old=1.0)
    feed, time = metrics(source)
    feed.want(WANTED)
    await time.pass_(0)
    assert feed.take("digits", 1) == ({"score": (2.0, 1.0)}, {})
    assert feed.take("digits", 1) == ({}, {}), "the same number is no new evidence"
    await time.pass_(14)
    feed.want(WANTED)
    assert (feed.take("digits", 1), len(source.asked)) == (({}, {}), 2)
    await time.pass_(1)
    assert feed.take("digits", 1)[0] == {"score": (2.0, 1.0)}
    assert {at for _, at in source.asked} == {100.0, 115.0}, "both arms are asked about the same moment"
    await feed.close()
    assert source.closed


@pytest.mark.parametrize(
    ("numbers", "trouble"),
    [
        ({"new": Unavailable("Prometheus is gone"), "old": 1.0}, "Prometheus is gone"),
        ({"new": None, "old": 1.0}, "the query gives no data for the candidate"),
        ({"new": None, "old": None}, "the query gives no data for the candidate and the stable revision"),
        ({"new": ValueError("a bug"), "old": 1.0}, "ValueError: a bug"),
    ],
)
async def test_why_a_number_does_not_come_is_told_until_it_does(numbers: dict[str, float | None], trouble: str):
    source = Source(**numbers)
    feed, time = metrics(source)
    feed.want(WANTED)
    await time.pass_(0)
    assert feed.take("digits", 1) == ({}, {"score": trouble})
    source.numbers = {"new": 0.0, "old": 0.0}
    await time.pass_(15)
    assert feed.take("digits", 1) == ({"score": (0.0, 0.0)}, {})
    await feed.close()


async def test_nobody_waits_for_a_slow_prometheus():
    source = Source(new=1.0, old=1.0)
    source.gate.clear()
    feed, time = metrics(source)
    feed.want(WANTED)
    await time.pass_(60)
    assert feed.take("digits", 1) == ({}, {})
    assert len(source.asked) == 2, "not asked again before it has answered"
    source.gate.set()
    await time.pass_(0)
    assert feed.take("digits", 1)[0] == {"score": (1.0, 1.0)}
    await feed.close()


async def test_what_is_over_or_changed_is_forgotten():
    source = Source(new=1.0, old=1.0, newer=3.0)
    feed, time = metrics(source)
    feed.want(WANTED)
    await time.pass_(0)
    feed.want({KEY: Asked(metric=METRIC, candidate="newer", stable="old")})
    await time.pass_(0)
    assert feed.take("digits", 1)[0] == {"score": (3.0, 1.0)}
    feed.want({})
    await time.pass_(60)
    assert (feed.take("digits", 1), len(source.asked)) == (({}, {}), 4)


async def test_without_a_prometheus_that_is_the_trouble():
    feed, time = metrics(None)
    feed.want(WANTED)
    await time.pass_(0)
    assert "prometheus.url" in feed.take("digits", 1)[1]["score"]
    await feed.close()


def declared(phase: RolloutPhase) -> Declared:
    progress = Progress(number=3, candidate="bbb", stable="aaa", held=1, phase=phase)
    endpoint = Endpoint(name="digits", model="digits:2", guard=Guard(metrics=(METRIC,)))
    return Declared(
        endpoint=endpoint,
        revision="bbb",
        generation=2,
        serving=Serving(active="aaa", held=1, rollout=progress),
        created="",
        updated="",
    )


def revision(id: str, version: str) -> Revision:
    return Revision(id=id, endpoint="digits", model="digits", version=version, digest="sha256:0")


REVISIONS = {"aaa": revision("aaa", "1"), "bbb": revision("bbb", "2")}


def test_a_query_is_asked_of_both_revisions():
    (key, what), *more = asked([declared("shifting")], REVISIONS, lambda _: Evidence()).items()
    assert (key, more, what.wait) == (("digits", 3, "score"), [], 0.0)
    assert (what.candidate, what.stable) == ('score{r="bbb"}', 'score{r="aaa"}')


def known(**silent: float) -> Callable[[str], Evidence]:
    state = msgspec.structs.replace(evidence.start(), silent=silent, pairs={"score": evidence.Pair(looks=1)})
    return lambda _: Evidence(state=state)


def test_a_controller_that_starts_anew_keeps_the_pace():
    (what,) = asked([declared("shifting")], REVISIONS, known(score=5.0)).values()
    assert what.wait == 10.0
    (what,) = asked([declared("shifting")], REVISIONS, known(score=50.0)).values()
    assert what.wait == 0.0


@pytest.mark.parametrize("phase", ["starting", "warm", "done", "rolled-back"])
def test_nothing_is_asked_where_only_one_revision_has_traffic(phase: RolloutPhase):
    assert asked([declared(phase)], REVISIONS, lambda _: Evidence()) == {}


def test_what_is_put_into_a_query():
    query = "a{r='$revision',v='$version',e='$endpoint',x=~'b$'} > $revisions + $$"
    assert filled(query, "digits", REVISIONS["bbb"]) == "a{r='bbb',v='2',e='digits',x=~'b$'} > $revisions + $$"
