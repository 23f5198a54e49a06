"""What is kept of the requests of a device: profiles always, payloads where an update declares them."""

from types import SimpleNamespace

import msgspec
import pytest

from argosy.profiles.profile import Profile
from argosy_edge import watching
from argosy_edge.clock import Clock
from argosy_edge.errors import Internal
from argosy_edge.spool import Spool
from argosy_edge.watching import Watching
from argosy_edge.wire import AgentReport, Update
from tests.profiles.models import rows, small

NOON = 1_800_000_000.0
IDLE = AgentReport(number=0, boot=1, phase="idle")


@pytest.fixture
def clock(tmp_path):
    clock = Clock(tmp_path / "clock", 1, lambda: NOON, lambda: 0.0)
    clock.sync(NOON)
    return clock


@pytest.fixture
def spool(tmp_path, clock):
    return Spool(tmp_path / "spool", clock)


def update(number, payloads=0.0):
    columns = msgspec.json.decode(msgspec.json.encode(small().columns))
    digest = f"sha256:{number:064x}"
    return Update(
        fleet="f",
        index=number,
        ref=f"m:{number}",
        package=digest,
        files=(),
        manifest={},
        reference=columns,
        payloads=payloads,
    )


def served(number):
    return SimpleNamespace(name="m", version=str(number))


def test_the_version_that_serves_and_the_one_on_trial_are_counted_apart(clock, spool):
    one = Watching(clock, spool)
    one.watch(update(1), "m", "1", alone=True)
    one.watch(update(2), "", "candidate")
    heard = one.candidate(update(2))
    for size in (3, 4):
        inputs, outputs = rows(size)
        one(served(1), inputs, outputs, 0.001)
        heard(inputs, outputs)
    one(served(9), *rows(5), 0.001)
    one(served(1), rows(1)[0], Internal("it failed"), 0.001)
    one.stop()
    found = [msgspec.convert(each, Profile) for each in spool.report(IDLE).profiles]
    assert {each.version: each.rows for each in found} == {update(1).package: 7, update(2).package: 7}


def test_after_a_switch_the_version_before_is_not_counted_but_told(clock, spool):
    one = Watching(clock, spool)
    one.watch(update(1), "m", "1", alone=True)
    one(served(1), *rows(3), 0.001)
    one.watch(update(2), "m", "2", alone=True)
    one(served(1), *rows(3), 0.001)
    one(served(2), *rows(2), 0.001)
    one.stop()
    told = [(each["version"], each["rows"]) for each in spool.report(IDLE).profiles]
    assert told == [(update(1).package, 3), (update(2).package, 2)]


def test_payloads_are_kept_where_they_are_declared_and_only_their_share(clock, spool):
    chances = iter([0.1, 0.9, 0.2])
    one = Watching(clock, spool, chance=lambda: next(chances))
    one.watch(update(1, payloads=0.5), "m", "1", alone=True)
    for size in (1, 2, 3):
        one(served(1), *rows(size), 0.002)
    one.flush()
    found = spool.report(IDLE).payloads
    assert [each["outputs"]["p"]["shape"] for each in found] == [[1], [3]]
    assert {(each["version"], each["milliseconds"], each["at"]) for each in found} == {(update(1).package, 2.0, NOON)}
    assert found[0]["inputs"]["country"]["data"][0] in ("DE", "FR", "US")


def test_without_a_declaration_nothing_but_counts_leaves_the_device(clock, spool):
    one = Watching(clock, spool)
    one.watch(update(1), "m", "1", alone=True)
    one(served(1), *rows(100), 0.002)
    one.stop()
    report = spool.report(IDLE)
    assert report.payloads == ()
    assert [each["rows"] for each in report.profiles] == [100]


def test_payloads_that_are_too_large_or_too_many_are_lost_and_counted(clock, spool, monkeypatch):
    monkeypatch.setattr(watching, "MOST_ELEMENTS", 100)
    monkeypatch.setattr(watching, "MOST_HELD", 2)
    one = Watching(clock, spool)
    one.watch(update(1, payloads=1.0), "m", "1", alone=True)
    one(served(1), *rows(50), 0.002)
    for _ in range(3):
        one(served(1), *rows(1), 0.002)
    one.flush()
    report = spool.report(IDLE)
    assert (len(report.payloads), report.lost) == (2, 2)
