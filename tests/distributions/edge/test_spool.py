"""The spool: durable, bounded, in order, and a number always means the same content."""

import errno

import pytest

from argosy_edge import durable
from argosy_edge.clock import Clock
from argosy_edge.profile import Placed
from argosy_edge.spool import EVENTS, Payload, Spool
from argosy_edge.wire import AgentReport, DeviceEvent

NOON = 1_800_000_000.0
IDLE = AgentReport(number=0, boot=1, phase="idle")


@pytest.fixture
def clock(tmp_path):
    clock = Clock(tmp_path / "clock", 1, lambda: NOON, lambda: 0.0)
    clock.sync(NOON)
    return clock


def spool(tmp_path, clock, **kwargs):
    return Spool(tmp_path / "spool", clock, **kwargs)


def event(text, boot=1, after=0.0, at=0.0):
    return DeviceEvent(at=at, boot=boot, after=after, kind="trouble", detail=text)


def profile(n=0, pad=""):
    return Placed(boot=1, after=60.0 * n, at=NOON, profile={"version": "m:1", "rows": n, "pad": pad})


def payload(n, size=10):
    return Payload(
        boot=1,
        after=float(n),
        at=NOON,
        version="m:1",
        id=str(n),
        milliseconds=1.0,
        inputs={"x": [0] * size},
        outputs={},
    )


def details(report):
    return [one.detail for one in report.events]


def test_what_was_put_outlives_a_restart_and_is_told_once(tmp_path, clock):
    one = spool(tmp_path, clock)
    one.put("events", [event("a"), event("b", after=5.0)])
    one.put("profiles", [profile(1)])
    one.put("payloads", [payload(3)])
    again = spool(tmp_path, clock)
    assert again.waiting
    report = again.report(IDLE)
    assert (report.number, details(report), report.events[1].at) == (1, ["a", "b"], NOON + 5)
    assert [(p["rows"], p["start"], p["end"]) for p in report.profiles] == [(1, NOON // 60 + 1, NOON // 60 + 2)]
    assert [(p["id"], p["at"]) for p in report.payloads] == [("3", NOON + 3)]
    assert again.acknowledged(1)
    assert not again.waiting
    assert details(spool(tmp_path, clock).report(IDLE)) == []


def test_a_report_is_repeated_as_it_is_until_it_was_acknowledged(tmp_path, clock):
    one = spool(tmp_path, clock)
    one.put("events", [event("a")])
    first = one.report(IDLE)
    one.put("events", [event("b")])
    assert one.report(IDLE) == first
    assert not one.acknowledged(0)
    again = spool(tmp_path, clock)
    assert again.report(IDLE) == first
    assert again.acknowledged(1)
    second = again.report(IDLE)
    assert (second.number, details(second)) == (2, ["b"])


def test_a_cut_between_the_report_and_the_deletion_of_what_it_holds_tells_nothing_twice(tmp_path, clock, monkeypatch):
    one = spool(tmp_path, clock)
    one.put("events", [event("a")])
    monkeypatch.setattr(Spool, "_delete", lambda *_: None)
    first = one.report(IDLE)
    monkeypatch.undo()
    again = spool(tmp_path, clock)
    assert again.report(IDLE) == first
    assert again.acknowledged(1)
    assert details(again.report(IDLE)) == []


def test_the_oldest_is_thrown_away_payloads_first_and_counted(tmp_path, clock):
    one = spool(tmp_path, clock, limit=20_000)
    one.put("events", [event("keep me")])
    for n in range(300):
        one.put("payloads", [payload(n)])
        one.put("profiles", [profile(n)])
    assert sum(path.stat().st_size for path in (tmp_path / "spool").iterdir()) <= 20_000
    report = one.report(IDLE)
    assert details(report) == ["keep me"]
    assert report.payloads == () or len(report.profiles) == 64
    kept = [one["rows"] for one in report.profiles]
    assert kept == sorted(kept)
    left = len(list((tmp_path / "spool").glob("*.z")))
    assert report.lost == 601 - left - 1 - len(report.profiles) - len(report.payloads)
    assert one.acknowledged(1)
    assert one.report(IDLE).lost == 0


def test_a_report_has_no_more_than_it_may_have_and_the_rest_comes_in_order(tmp_path, clock):
    one = spool(tmp_path, clock)
    one.put("events", [event(str(n)) for n in range(2 * EVENTS + 10)])
    seen = []
    for number in range(1, 4):
        report = one.report(IDLE)
        assert report.number == number
        assert len(report.events) <= EVENTS
        seen += details(report)
        one.acknowledged(number)
    assert seen == [str(n) for n in range(2 * EVENTS + 10)]


def test_what_is_too_large_for_a_report_is_lost_alone(tmp_path, clock):
    one = spool(tmp_path, clock)
    one.put("payloads", [payload(1), payload(2, size=600_000), payload(3)])
    assert one.lost == 1
    assert [each["id"] for each in one.report(IDLE).payloads] == ["1", "3"]


def test_a_broken_batch_is_lost_and_stops_nothing(tmp_path, clock):
    one = spool(tmp_path, clock)
    for text in ("a", "b", "c"):
        one.put("events", [event(text)])
    files = sorted((tmp_path / "spool").glob("*.z"))
    files[1].write_bytes(b"\x28\xb5\x2f\xfd broken")
    report = spool(tmp_path, clock).report(IDLE)
    assert details(report) == ["a", "c"]
    again = spool(tmp_path, clock)
    again.acknowledged(1)
    assert not again.waiting


def full(*_):
    raise OSError(errno.ENOSPC, "no space left")


def test_a_full_disk_loses_what_is_new_and_one_batch_and_the_device_still_reports(tmp_path, clock, monkeypatch):
    one = spool(tmp_path, clock)
    for text in ("a", "b", "c"):
        one.put("events", [event(text)])
    monkeypatch.setattr(durable, "write", full)
    one.put("events", [event("d")])
    assert one.lost == 3
    report = one.report(IDLE)
    assert (report.number, report.events) == (1, ())
    assert one.report(IDLE) == report
    assert one.acknowledged(1)
    monkeypatch.undo()
    report = one.report(IDLE)
    assert (report.number, details(report), report.lost) == (2, ["c"], 3)


def test_a_platform_that_has_more_than_was_sent_is_followed(tmp_path, clock):
    one = spool(tmp_path, clock)
    one.put("events", [event("a")])
    one.report(IDLE)
    assert one.acknowledged(41)
    assert one.report(IDLE).number == 42
