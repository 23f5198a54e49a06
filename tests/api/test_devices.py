"""What devices ask of a platform: who may, once, and what is made of what they say."""

import datetime as dt
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
from starlette.testclient import TestClient

from argosy.alerting.incident import Finding
from argosy.api.devices import DeviceApi
from argosy.edge import statement, wire
from argosy.spec.settings import Home, Settings
from argosy.store import open_store
from argosy.store.fleets import Assignment, Deployment, fleets_table
from argosy.store.ledger import Cause
from argosy.store.store import Store
from argosy_edge.signed import check
from tests.edge.devices import FACTS, NOW, Clock, SimulatedDevice, fleet_of, read, served, token_of
from tests.trust.conftest import Authority, pem

CAUSE = Cause(reason="stolen")


class World:
    """A store, the API of devices over it, and a fleet `cars`."""

    def __init__(self, root: Path) -> None:
        self.store: Store = open_store(Home(root), Settings())
        self.clock, self.told = Clock(), dict[str, list[Finding]]()
        self.taken: list[tuple[str, int]] = []
        self.api = DeviceApi(self.store, self._tell, self._take, self.clock)
        self.token = fleet_of(self.store)
        self.client: TestClient = served(self.api.routes(most=4))

    def _tell(self, source: str, endpoint: str, found: Any) -> None:
        self.told[endpoint] = list(found)

    def _take(self, device: Any, said: wire.AgentReport, now: float) -> None:
        self.taken.append((device.id, said.number))

    def device(self, name: str | None = "a") -> SimulatedDevice:
        """One that has a session."""
        return SimulatedDevice(self.client, name).enrol(self.token).begin()

    def deploy(self, *names: str) -> int:
        fleets = self.store.fleets
        number = fleets.next_number("cars")
        update = wire.Update(fleet="cars", index=number, ref="m:1", package="sha256:" + "0" * 64, files=(), manifest={})
        envelope = msgspec.json.encode(statement.seal(update, self.store.fleet_keys.current))
        made = Deployment(
            fleet="cars",
            number=number,
            ref="m:1",
            package=update.package,
            envelope=envelope,
            created=NOW,
            changed=NOW,
        )
        fleets.deploy(made, CAUSE)
        fleets.assign(
            [Assignment(device=each, deployment=number, fleet="cars", offered=NOW, changed=NOW) for each in names]
        )
        return number


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    found = World(tmp_path / "home")
    with found.client:
        yield found
    found.store.close()


def refused(answer: Any, status: int, *words: str) -> None:
    assert answer.status_code == status, answer.text
    failure = msgspec.json.decode(answer.content, type=wire.Failure)
    assert all(word in failure.error for word in words), failure.error


def test_a_device_enrols_begins_a_session_and_is_told_nothing_yet(world: World) -> None:
    one = SimulatedDevice(world.client)
    found = read(one.post("/enrol", one.enrolment(world.token)), wire.Enrolled)
    assert found.device.startswith("cars-")
    assert found.keys == (world.store.fleet_keys.pem,)
    one.id = found.device
    assert one.begin().desired() == wire.Desired(revision="0", poll=30.0)
    known = world.store.fleets.devices.get(found.device)
    assert known.facts["machine"] == "x86_64"
    assert known.previous == "", "what it asked shows that it has written the ratchet"


def test_a_token_lets_in_as_many_as_it_says(world: World) -> None:
    token = token_of(world.store, uses=1)
    SimulatedDevice(world.client, "a").enrol(token)
    other = SimulatedDevice(world.client, "b")
    refused(other.post("/enrol", other.enrolment(token)), 401, "argosy fleet token")
    refused(other.post("/enrol", other.enrolment("")), 401, "needs a token")
    refused(other.post("/enrol", other.enrolment(token, fleet="boats")), 404, "no fleet 'boats'")


def test_an_enrolment_needs_the_key_and_a_fresh_challenge(world: World) -> None:
    one, other = SimulatedDevice(world.client, "a"), SimulatedDevice(world.client, "b")
    asked = one.enrolment(world.token)
    stolen = msgspec.structs.replace(asked, public_key=other.enrolment().public_key)
    refused(one.post("/enrol", stolen), 401, "proof")
    read(one.post("/enrol", asked), wire.Enrolled)
    refused(one.post("/enrol", asked), 401, "challenge", "was used")
    late = one.enrolment(world.token)
    world.clock.now += 61
    refused(one.post("/enrol", late), 401, "too old")
    for nonce in ("", "x", late.nonce[:-4] + "AAA="):
        refused(one.post("/enrol", msgspec.structs.replace(late, nonce=nonce)), 401, "challenge")


def test_a_certificate_of_the_owner_lets_in_while_it_is_good(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    expired, one, other = Authority(), SimulatedDevice(world.client, "a"), SimulatedDevice(world.client, "b")
    old = pem(*expired.chain("ann", one.key)).decode()
    refused(one.post("/enrol", one.enrolment(chain=old)), 401, "no owner whose certificates count")
    monkeypatch.setattr("tests.trust.conftest.START", dt.datetime.now(dt.UTC) - dt.timedelta(days=1))
    authority = Authority("another root")
    good = pem(*authority.chain("ann", one.key)).decode()
    with world.store.database.begin() as connection:
        owner = pem(expired.root, authority.root).decode()
        connection.execute(fleets_table.update().values(owner=owner))
    refused(one.post("/enrol", one.enrolment(chain=old)), 401, "does not count", "not valid")
    refused(one.post("/enrol", one.enrolment(chain="nothing")), 401, "does not count")
    stranger = pem(*Authority("a third").chain("ann", one.key)).decode()
    refused(one.post("/enrol", one.enrolment(chain=stranger)), 401, "does not count")
    refused(other.post("/enrol", other.enrolment(chain=good)), 401, "not one of the device's key")
    assert read(one.post("/enrol", one.enrolment(chain=good)), wire.Enrolled).device == "a"


def test_hostile_labels_and_names_are_refused(world: World) -> None:
    one = SimulatedDevice(world.client, "a")
    for labels in ({"a": "x\x1b[2J"}, {"a\n": "b"}, {"a": "b\n"}, {"a": "<script>"}, {"a": "b" * 64}):
        refused(one.post("/enrol", one.enrolment(world.token, labels=labels)), 400, "labels")
    for name in ("../etc", "A", "a\n", "a" * 64, "<b>"):
        one.name = name
        refused(one.post("/enrol", one.enrolment(world.token)), 400, "name")


def test_facts_of_a_device_can_move_no_cursor(world: World) -> None:
    one = SimulatedDevice(world.client, "a").enrol(world.token)
    read(one.ask_session(facts=msgspec.structs.replace(FACTS, machine="x\x1b[2J")), wire.DeviceSession)
    assert world.store.fleets.devices.get("a").facts["machine"] == "x [2J"
    one = SimulatedDevice(world.client, "b").enrol(world.token)
    refused(one.ask_session(facts=msgspec.structs.replace(FACTS, protocol=2)), 400, "protocol 2")


def test_a_session_needs_the_key_and_is_signed_over_its_own_challenge(world: World) -> None:
    one = world.device()
    refused(one.ask_session(proof=b"x"), 401, "proof")
    nonce = one.nonce()
    proof = one.sign(statement.session_data(nonce, "a", one.ratchet))
    refused(one.ask_session(proof=proof), 401, "proof")
    asked = wire.SessionRequest(device="a", nonce=nonce, ratchet=one.ratchet, proof=proof, facts=FACTS)
    first = read(one.post("/session", asked), wire.DeviceSession)
    refused(one.post("/session", asked), 401, "was used")
    one.id = "nobody"
    refused(one.ask_session(), 401, "no such device")
    assert first.now == NOW


def test_the_token_of_a_session_is_one_of_this_platform_and_ends(world: World) -> None:
    one = world.device()
    good = one.token
    for token in (
        "",
        "a:1:9999999999:" + "0" * 32,
        good[:-1] + ("0" if good[-1] != "0" else "1"),
        "é",
        "a:b",
        good + "\t.",
    ):
        one.token = token
        refused(one.get("/desired"), 401, wire.SESSION)
    one.token = good
    assert one.desired().revision == "0"
    world.clock.now += 3601
    refused(one.get("/desired"), 401, wire.SESSION)
    assert one.begin().desired().revision == "0"


def test_a_new_session_ends_the_one_before(world: World) -> None:
    one = world.device()
    old = one.token
    one.begin()
    one.token, new = old, one.token
    refused(one.get("/desired"), 401, "another session")
    refused(one.report(), 401, "another session")
    one.token = new
    assert one.desired().revision == "0"


def test_a_platform_that_starts_anew_knows_its_sessions_but_not_its_challenges(world: World) -> None:
    one = world.device()
    nonce = one.nonce()
    with served(DeviceApi(world.store, world._tell, clock=world.clock).routes()) as client:
        one.client = client
        assert one.desired().revision == "0"
        proof = one.sign(statement.session_data(nonce, "a", one.ratchet))
        refused(one.ask_session(nonce=nonce, proof=proof), 401, "challenge")


def test_a_stolen_device_loses_its_identity_at_once(world: World) -> None:
    one = world.device()
    answers: list[Any] = []
    waiting = threading.Thread(target=lambda: answers.append(one.get("/desired?after=0&wait=50")))
    waiting.start()
    while not world.api.waiting:
        pass
    world.store.fleets.devices.revoke("a", NOW, CAUSE)
    waiting.join()
    refused(answers[0], 403, "is revoked: stolen")
    refused(one.report(), 403, "revoked")
    refused(one.ask_session(), 403, "revoked")
    refused(one.post("/enrol", one.enrolment(world.token)), 403, "revoked")


def test_a_device_that_is_there_twice_is_suspended_and_told_of(world: World) -> None:
    one = world.device()
    two = one.copy()
    one.desired()
    one.begin().desired()
    refused(two.ask_session(), 403, "two devices have its key")
    refused(one.get("/desired"), 403, "suspended")
    refused(one.ask_session(), 403, "suspended")
    (found,) = world.told["fleet.cars"]
    assert (found.kind, found.subject, found.severity) == ("device", "a", "page")


def test_a_device_that_lost_the_answer_is_no_second_one(world: World) -> None:
    one = world.device()
    one.desired()
    before = one.copy()
    one.ask_session()
    assert before.begin().desired().revision == "0"


def test_news_are_told_to_those_who_wait_for_them(world: World) -> None:
    one = world.device()
    found: list[wire.Desired] = []
    waiting = threading.Thread(target=lambda: found.append(one.desired("?after=0&wait=50")))
    waiting.start()
    while not world.api.waiting:
        pass
    number = world.deploy("a")
    waiting.join()
    assert found[0].revision == f"{number}.go"
    assert found[0].update is not None
    update = check(found[0].update, "cars", [world.store.fleet_keys.pem])
    assert update.index == number
    assert one.desired("?after=0&wait=50") == found[0], "what is known already is not waited for"
    assert not world.api.waiting


def test_a_platform_that_ends_lets_nobody_wait(world: World) -> None:
    one, found = world.device(), list[wire.Desired]()
    waiting = threading.Thread(target=lambda: found.append(one.desired("?after=0&wait=50")))
    waiting.start()
    while not world.api.waiting:
        pass
    assert world.api._loop is not None
    world.api._loop.call_soon_threadsafe(world.api.end)
    waiting.join()
    assert found == [one.desired("?after=0&wait=50")]


def test_what_is_paused_or_aborted_is_said(world: World) -> None:
    one = world.device()
    number = world.deploy("a")
    world.store.fleets.move("cars", number, "paused", "a look", NOW, CAUSE)
    assert one.desired().hold
    world.store.fleets.move("cars", number, "aborted", "bad", NOW, CAUSE)
    found = one.desired()
    assert (found.hold, found.drop, found.update) == (False, True, None)


def test_more_than_can_wait_are_answered_at_once(world: World) -> None:
    world.api.waiting.update({f"x{at}": ("cars", threading.Event()) for at in range(4)})  # type: ignore[arg-type]
    assert world.device().desired("?after=0&wait=50").poll == 30.0
    refused(world.device("b").get("/desired?wait=soon"), 400, "wait is a number")


def test_a_report_counts_once_by_its_number(world: World) -> None:
    one = world.device()
    number = world.deploy("a")
    quality = wire.Quality(candidate=wire.Arm(requests=7, errors=1, latency=(0, 7)), compared=6, agreed=5)
    event = wire.DeviceEvent(at=NOW, boot=1, after=2.0, kind="rolled_back", index=number, detail="NaN\x1b[2J answers")
    said = {"index": number, "phase": "trial", "quality": quality, "events": (event,)}
    assert read(one.report(**said), wire.Received).number == 1
    one.number -= 1
    assert read(one.report(**said), wire.Received).number == 1
    (found,) = world.store.fleets.assignments("cars", number)
    assert (found.candidate_requests, found.compared, found.agreed) == (7, 6, 5)
    assert (found.state, found.reason) == ("rolled_back", "NaN [2J answers")
    assert world.taken == [("a", 1)], "once, while the platform goes on"
    (note,) = world.store.fleets.devices.events("a")
    assert (note.kind, note.index, note.received) == ("rolled_back", number, NOW)


def test_a_report_beyond_its_bounds_is_refused(world: World) -> None:
    one = world.device()
    beyond: list[dict[str, Any]] = [
        {"boot": 2**80},
        {"number": 2**63},
        {"lost": -5},
        {"committed": "sha256:x"},
        {"committed": "sha256:" + "0" * 64 + "\n"},
        {"quality": wire.Quality(stable=wire.Arm(requests=-1))},
        {"quality": wire.Quality(stable=wire.Arm(latency=(1,) * 65))},
        {"sent": 2**60},
    ]
    for said in beyond:
        refused(one.report(**said), 400)
    assert read(one.report(number=-1), wire.Received).number == 0, "it is known, and nothing else is looked at"
    assert world.store.fleets.devices.get("a").report == 0


def test_a_body_that_is_too_large_or_no_json_is_refused(world: World) -> None:
    one = world.device()
    refused(one.post("/challenge", b"x" * 70_000), 413, "65536")
    refused(one.post("/report", b"x" * (2 * 1024 * 1024 + 1)), 413)
    for body in (b"{", b"[]", b"\xff", b"[" * 60_000):
        refused(one.post("/report", body), 400)
        refused(one.post("/session", body), 400)


def test_challenges_are_bounded_in_number(world: World) -> None:
    one = SimulatedDevice(world.client)
    for _ in range(5000):
        world.api.challenges.make(NOW)
    answer = one.post("/challenge", wire.ChallengeRequest())
    refused(answer, 429, "try again")
    assert int(answer.headers["retry-after"]) >= 1
    world.clock.now += 1
    one.nonce()


def test_when_devices_were_heard_is_written_now_and_then(world: World) -> None:
    one = world.device()
    world.clock.now += 20
    one.desired()
    world.clock.now += 20
    one.desired()
    while world.store.fleets.devices.get("a").seen < NOW + 20:
        pass


def test_a_device_has_the_plans_of_its_own_packages_alone(world: World) -> None:
    one, other = world.device(), world.device("b")
    world.deploy("a")
    mine = "sha256:" + "0" * 64
    assert world.store.fleets.packages("a") == [mine]
    refused(other.get(f"/plan?package={mine}"), 404, "no update of this device")
    refused(other.get("/blobs/" + "0" * 64), 404)
    refused(one.get("/blobs/x"), 400, "no SHA-256")
    one.token = ""
    refused(one.get(f"/plan?package={mine}"), 401, wire.SESSION)
    refused(one.get("/blobs/" + "0" * 64), 401, wire.SESSION)


def test_the_more_devices_there_are_the_longer_each_waits(world: World) -> None:
    one = world.device()
    assert one.desired().poll == 30
    for each in range(6000):
        world.api.hear(f"other-{each}")
    world.clock.now += 16
    one.desired()
    assert one.desired().poll == pytest.approx(6000 * 30 / 15 / 150, rel=0.01)
    for _ in range(3):
        world.clock.now += 16
        one.desired()
    assert one.desired().poll == 30
