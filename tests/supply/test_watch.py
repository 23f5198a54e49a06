import hashlib
from types import SimpleNamespace
from typing import cast

import httpx
import pytest

from argosy.spec.endpoint import Endpoint
from argosy.spec.errors import Unsupported
from argosy.spec.status import View
from argosy.spec.supply import SupplySettings
from argosy.store.keys import KeyRecord
from argosy.supply import watch
from argosy.supply.evictions import Evictions
from argosy.supply.hosts import Score, answered
from argosy.supply.watch import HostWatch


class Played:
    """Canaries that all disagree, or are not answered."""

    answers = True

    def __init__(self, package, revision, client, url) -> None:
        self.revision, self.url, self.scores = revision, url, {}

    def once(self) -> None:
        if not self.answers:
            raise httpx.ConnectError("nobody is there")
        self.scores["r-0"] = answered(self.scores.get("r-0", Score()), False)

    def pause(self, calm: float) -> float:
        return calm


def status(untrusted: bool = True, **more):
    found = {"state": "ready", "revision": "r1", "serving_revision": "r1", "digest": "sha256:1"} | more
    return SimpleNamespace(endpoint=Endpoint(name="digits", model="digits:1", untrusted=untrusted), **found)


class Scene:
    """A watch over what `see` says, at a clock that is set by hand."""

    def __init__(self) -> None:
        self.now, self.reported, self.view, self.evicted = 0.0, [], View(), {}
        self.watch = HostWatch(
            None,
            lambda: self.view,
            self.reach,
            lambda *each: self.reported.append(each),
            SupplySettings(canaries=10.0, evict=True),
            cast(Evictions, SimpleNamespace(evict=self.evicted.__setitem__)),
            clock=lambda: self.now,
        )

    async def reach(self) -> str:
        return "http://gateway"

    def see(self, found, *replicas: str, host: str = "") -> None:
        self.view = SimpleNamespace(
            endpoints={"digits": found} if found else {},
            replicas=[SimpleNamespace(id=each, host=host) for each in replicas],
        )

    def turn(self, seconds: float = 10.0) -> None:
        self.now += seconds
        self.watch.turn("http://gateway")

    @property
    def findings(self):
        return self.reported[-1][2] if self.reported else []


@pytest.fixture
def scene(monkeypatch) -> Scene:
    monkeypatch.setattr(watch, "Canaries", Played)
    monkeypatch.setattr(watch, "stored", lambda store, digest: digest)
    monkeypatch.setattr(Played, "answers", True)
    return Scene()


def test_a_replica_that_is_evicted_is_an_incident_until_it_is_gone(scene):
    scene.see(status(), "r-0")
    for _ in range(10):
        scene.turn()
    (found,) = scene.findings
    assert (found.endpoint, found.kind, found.subject, found.severity) == ("digits", "host", "r-0", "page")
    assert "canaries disagreed" in found.reason
    assert scene.evicted == {}, "it runs on this machine"
    scene.see(status(), "r-1")
    scene.turn()
    assert scene.findings == []


def test_the_host_of_one_that_is_evicted_is_evicted(scene):
    scene.see(status(), "r-0", host="node-1")
    for _ in range(10):
        scene.turn()
    (found,) = scene.findings
    assert "its host node-1 is evicted" in found.reason
    assert scene.evicted.keys() == {"node-1"}
    assert scene.evicted["node-1"].startswith("'r-0' does not answer as its package does: ")


def test_what_is_trusted_is_not_watched_and_no_longer_where_it_was(scene):
    scene.see(status(untrusted=False))
    scene.turn()
    scene.turn()
    assert scene.reported == []
    scene.see(status())
    scene.turn()
    scene.turn()
    assert len(scene.reported) == 1
    scene.see(None)
    scene.turn()
    assert scene.reported[-1] == ("hosts", "digits", [])


def test_a_rollout_is_waited_for_and_the_next_revision_begins_anew(scene):
    scene.see(status(serving_revision="r0"))
    scene.turn()
    scene.turn()
    assert scene.reported == []
    scene.see(status())
    scene.turn()
    scene.turn()
    assert scene.watch._watched["digits"].canaries.revision == "r1"
    scene.see(status(revision="r2", serving_revision="r2"))
    scene.turn()
    assert scene.watch._watched["digits"].canaries.scores == {}


def test_a_gateway_that_does_not_answer_says_nothing(scene, monkeypatch):
    monkeypatch.setattr(Played, "answers", False)
    scene.see(status(), "r-0")
    for _ in range(5):
        scene.turn()
    assert scene.findings == []


def test_what_takes_no_canaries_is_told_once(scene, monkeypatch, caplog):
    def refuse(*_):
        raise Unsupported("a language model takes no tensors")

    monkeypatch.setattr(watch, "Canaries", refuse)
    scene.see(status())
    scene.turn()
    scene.turn()
    assert [record.message for record in caplog.records] == [
        "the replicas of digits get no canaries: a language model takes no tensors"
    ]


def test_canaries_have_a_key_of_their_own_while_there_is_something_to_watch(scene):
    other = KeyRecord(id="a", name="a", scopes=("*",), hash="0", created="")
    scene.see(status(untrusted=False))
    assert scene.watch.keys([other]) == [other]
    scene.see(status())
    first, own = scene.watch.keys([other])
    assert (first, own.scopes, own.id) == (other, ("digits",), "canaries")
    sent = scene.watch._http.headers["x-api-key"]
    assert own.hash == hashlib.sha256(sent.encode()).hexdigest()
    assert sent not in str(own)


async def test_a_round_asks_where_the_gateway_is(scene):
    await scene.watch._round()
    scene.see(status(), "r-0")
    await scene.watch._round()
    assert scene.watch._watched["digits"].canaries.url == "http://gateway/v2/models/digits/infer"
    assert scene.watch._pause() <= watch.LOOK
