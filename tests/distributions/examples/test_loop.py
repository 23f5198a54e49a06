"""The loop's links, with findings that are made up; the real loop is in test_loop_live."""

from types import SimpleNamespace

import pytest

from argosy.spec.settings import Home, Settings
from argosy.store import findings, open_store
from argosy.store.findings import Finding
from argosy_examples import loop
from argosy_examples.loop import Broken, Loop, Player

BASE = 0.704


def finding(kind, version, end, value, half=0.02, maturity=1.0):
    return Finding(
        endpoint=loop.NAME,
        version=version,
        kind=kind,
        subject=loop.METRIC,
        at=end,
        window_start=end - 10,
        window_end=end,
        rows=4000,
        effect=value,
        low=value - half,
        high=value + half,
        detail={"reference": BASE, "maturity": maturity, "domain_auc": 0.9},
    )


class Control:
    """A platform whose trigger has ended with `status`, and that serves version 2."""

    def __init__(self, status=0):
        self.status = status

    def get(self, path):
        assert path == "/v1/endpoints/delays/triggers"
        phase = "done" if self.status == 0 else "failed"
        error = "" if self.status == 0 else "exit status 1"
        return {"runs": [{"ended": 1.0, "phase": phase, "status": self.status, "error": error, "reason": "it fell"}]}

    def endpoint(self, name):
        return {"serving": f"{name}:2", "state": "ready"}


class Stream:
    def __init__(self):
        self.answered, self.failed = SimpleNamespace(total=lambda: 1000), ""
        self.uses = 0

    def use(self, inputs, late):
        self.uses += 1
        return 100.0 * self.uses


@pytest.fixture
def player(tmp_path, monkeypatch):
    monkeypatch.setattr(loop, "PATIENCE", 0.3)
    monkeypatch.setattr(loop, "LOOK", 0.01)
    monkeypatch.setattr(loop.time, "time", lambda: 300.0)
    home = Home(tmp_path).create()
    made = Player.__new__(Player)
    made._home, made._key, made._report = home, "k", lambda line: None
    made._control, made._store = Control(), open_store(home, Settings())
    made._links, made._stretches, made._reference = [], [], 0.0
    yield made
    made._store.close()


GOOD = (
    finding("estimate", "1", 110, 0.71),
    finding("realised", "1", 110, 0.70),
    finding("estimate", "1", 205, 0.70),
    finding("estimate", "1", 210, 0.63),
    finding("realised", "1", 210, 0.64),
    finding("estimate", "2", 310, 0.74),
    finding("realised", "2", 310, 0.735),
)
ROWS = SimpleNamespace(inputs=None, late=None)
DATA = SimpleNamespace(mornings=ROWS, evenings=ROWS)


def played(player, *changed, stream=None):
    swapped = {(one.kind, one.version, one.window_end): one for one in (*GOOD, *changed)}
    findings.write(player._store.database, list(swapped.values()))
    player._turn(DATA, stream or Stream())
    return Loop(links=tuple(player._links), stretches=tuple(player._stretches), reference=player._reference, seconds=1)


def test_all_links_hold(player):
    found = played(player)
    assert found.closed, found.links
    assert [one.name for one in found.links] == [
        *("calm", "the estimate falls", "labels agree", "the trigger retrains"),
        *("the next version serves", "quality returns", "no request lost"),
    ]
    assert [(one.flights, one.version) for one in found.stretches] == [
        *(("mornings", "1"), ("evenings", "1"), ("later evenings", "2")),
    ]
    assert found.stretches[1].estimated == "0.630 (0.610 to 0.650)"


@pytest.mark.parametrize(
    ("changed", "broken"),
    [
        (finding("estimate", "1", 110, 0.6), "calm"),
        (finding("estimate", "1", 210, 0.69), "the estimate falls"),
        (finding("estimate", "1", 210, 0.63, half=0.1), "the estimate falls"),
        (finding("realised", "1", 210, 0.7), "labels agree"),
        (finding("realised", "1", 210, 0.64, maturity=0.3), "in time"),
        (finding("realised", "2", 310, 0.65), "quality returns"),
        (finding("realised", "2", 310, 0.61), "quality returns"),
    ],
)
def test_the_link_that_does_not_hold_is_named_and_the_last(player, changed, broken):
    found = played(player, changed)
    assert not found.closed
    assert [(one.name, one.held) for one in found.links][-1] == (broken, False)
    assert all(one.held for one in found.links[:-1])


def test_a_command_that_fails_and_a_request_that_is_lost_break_the_loop(player):
    player._control = Control(status=1)
    last = played(player).links[-1]
    assert (last.name, last.held, "exit status 1" in last.told) == ("the trigger retrains", False, True)
    player._control, player._links = Control(), []
    stream = Stream()
    stream.failed = "503"
    last = played(player, stream=stream).links[-1]
    assert (last.name, last.held, last.told) == ("no request lost", False, "1,000 rows answered; 503")


def test_nothing_in_time_is_told(player):
    with pytest.raises(Broken):
        player._find("estimate", "3", 0)
    assert player._links[-1].told == "waited 0.3 s in vain for a figure of the kind estimate for version 3"


def test_no_links_are_no_loop():
    assert not Loop(links=(), stretches=(), reference=0, seconds=0).closed
