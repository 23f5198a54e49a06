"""The platform as the agent has it: asked again and again, told all once, and never in the way of what serves."""

import threading
import time

import msgspec
import pytest

from argosy_edge import remote as remotes
from argosy_edge.clock import Clock
from argosy_edge.errors import BadSignature, Unavailable
from argosy_edge.fetch import Counts
from argosy_edge.remote import Remote
from argosy_edge.spool import Spool
from argosy_edge.state import Content, Event, State
from argosy_edge.wire import Arm, Desired, Enrolled, Quality, Received, TransferPlan
from tests.distributions.edge.devices import desired, update


class Link:
    """A platform that answers from a list; without one more it waits."""

    keys = ()

    def __init__(self, answers=()):
        self.answers, self.asked, self.reports = list(answers), [], []
        self.gone = False

    def desired(self, after, wait):
        self.asked.append((after, time.monotonic()))
        if not self.answers:
            time.sleep(0.05)
            return Desired(revision=after, poll=0.2)
        found = self.answers.pop(0)
        if isinstance(found, Exception):
            raise found
        return found

    def report(self, report):
        if self.gone:
            raise Unavailable("the platform cannot be reached: no route to host")
        self.reports.append(report)
        return Received(number=report.number)


@pytest.fixture
def make(tmp_path, monkeypatch):
    monkeypatch.setattr(remotes, "LONGEST", 0.01)
    made = []

    def remote(link, **more):
        clock = Clock(tmp_path / "clock", 1)
        spool = Spool(tmp_path / "spool", clock)
        made.append(Remote(link, Enrolled(device="d", fleet="pumps", keys=()), clock, spool, **more))
        return made[-1]

    yield remote
    for each in made:
        each.stop()


def until(met):
    end = time.monotonic() + 60
    while not met():
        assert time.monotonic() < end
        time.sleep(0.01)


def test_what_is_wanted_is_passed_on_and_the_next_is_asked_for_at_once(make):
    one, two = Desired(revision="1"), Desired(revision="2")
    link, wanted = Link([one, two]), []
    make(link).start(wanted.append)
    until(lambda: len(link.asked) >= 3)
    assert wanted[:2] == [one, two]
    assert [after for after, _ in link.asked[:3]] == ["", "1", "2"]


def test_an_outage_is_told_of_once_and_ends(make, caplog):
    caplog.set_level("INFO", "argosy.edge")
    gone = Unavailable("the platform cannot be reached: no route to host")
    link, wanted = Link([gone, gone, gone, Desired(revision="1")]), threading.Event()
    make(link).start(lambda desired: wanted.set())
    assert wanted.wait(60)
    assert [record.message for record in caplog.records] == [
        "the platform cannot be reached: no route to host; what serves goes on, and it is tried again",
        "the platform is reached again",
    ]


def test_events_are_reported_once_the_platform_is_there_and_in_order(make):
    link = Link()
    link.gone = True
    remote = make(link, counted=lambda: Arm(requests=2))
    for detail in ("one", "two"):
        remote.notice(State(), Event(kind="phase", detail=detail))
    assert not remote._send()
    link.gone = False
    remote.looked(Quality(candidate=Arm(requests=5), compared=5, agreed=4))
    assert remote._send()
    assert [event.detail for report in link.reports for event in report.events] == ["one", "two"]
    assert [report.number for report in link.reports] == [1, 2]
    told = [report.quality for report in link.reports]
    assert (told[0].stable.requests, told[1].compared, told[1].candidate.requests) == (2, 5, 5)


def test_an_update_of_another_key_is_not_taken(make):
    with pytest.raises(BadSignature, match="signed by a key that is not one of the fleet's"):
        make(Link()).open(desired(update(1)))
    assert make(Link()).open(msgspec.structs.replace(desired(update(1)), update=None)) is None


def test_bytes_are_told_of_the_update_they_are_of_over_all_attempts(make, monkeypatch, tmp_path):
    class Fetcher:
        def __init__(self, *_, stop):
            self.counts = Counts()

        def fetch(self, *_):
            self.counts.sent, self.counts.again = 100, 7

    link = Link()
    link.plan = lambda package, have: TransferPlan(files={})
    monkeypatch.setattr(remotes, "Fetcher", Fetcher)
    remote = make(link)
    for index in (1, 1, 2):
        target = Content(index=index, ref="m:1", package="sha256:" + "0" * 64, envelope="")
        remote.changed(State(phase="fetch", target=target))
        assert remote._send()
        remote.fetch(update(index), tmp_path, {}, threading.Event())
        assert remote._send()
    told = [(report.index, report.sent, report.again) for report in link.reports]
    assert told == [(1, 0, 0), (1, 100, 7), (1, 100, 7), (1, 200, 14), (2, 0, 0), (2, 100, 7)]
