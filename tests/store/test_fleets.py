"""Fleets, devices, tokens, deployments and what came of them, as the database has them."""

import threading
from collections.abc import Callable, Collection
from concurrent.futures import ThreadPoolExecutor

import msgspec
import pytest

from argosy.spec.errors import ArgosyError, Conflict, NotFound, PermissionDenied, Unauthenticated
from argosy.store import ledger
from argosy.store.database import Database
from argosy.store.devices import EVENTS, Device, DeviceNote, Devices, hashed, tokens_table
from argosy.store.fleets import Assignment, Deployment, Fleet, Fleets, Reported
from argosy.store.ledger import Cause

CAUSE = Cause(actor="ann", reason="it is time")
NOW = 1_800_000_000.0


@pytest.fixture
def fleets(database: Database) -> Fleets:
    found = Fleets(Devices(database))
    found.create(Fleet(name="cars", created=NOW), CAUSE)
    return found


@pytest.fixture
def devices(fleets: Fleets) -> Devices:
    return fleets.devices


def device(name: str, **others: object) -> Device:
    fields = {"id": name, "fleet": "cars", "public_key": f"PEM {name}", "fingerprint": hashed(name), "created": NOW}
    return Device(**(fields | others))  # type: ignore[arg-type]


def token_of(devices: Devices, *, uses: int = 1, labels: dict[str, str] | None = None) -> str:
    return devices.make_token("cars", uses=uses, now=NOW, seconds=60, labels=labels or {}, cause=CAUSE)


def deployed(fleets: Fleets, *names: str) -> int:
    number = fleets.next_number("cars")
    one = Deployment(
        fleet="cars", number=number, ref="m:1", package="sha256:0", envelope=b"signed", created=NOW, changed=NOW
    )
    fleets.deploy(one, CAUSE)
    fleets.assign(
        [Assignment(device=name, deployment=number, fleet="cars", offered=NOW, changed=NOW) for name in names]
    )
    return number


def enrolled(devices: Devices, *names: str) -> None:
    token = token_of(devices, uses=len(names))
    for name in names:
        devices.enrol(device(name), token=token, now=NOW)


def test_a_fleet_has_one_name(fleets: Fleets) -> None:
    with pytest.raises(Conflict, match="there is a fleet 'cars' already"):
        fleets.create(Fleet(name="cars", created=NOW), CAUSE)
    with pytest.raises(NotFound, match="there is no fleet 'boats'"):
        fleets.get("boats")
    assert [each.name for each in fleets.every()] == ["cars"]


def test_a_token_is_good_once_in_its_fleet_and_time_and_only_its_hash_is_kept(
    database: Database, devices: Devices
) -> None:
    text = token_of(devices, labels={"site": "north"})
    found = devices.enrol(device("a", labels={"site": "mine", "line": "2"}), token=text, now=NOW)
    assert found.labels == {"site": "north", "line": "2"}, "what the owner says goes before what the device says"
    for wrong, at, fleet in ((text, NOW, "cars"), ("guess", NOW, "cars"), (token_of(devices), NOW + 60, "cars")):
        with pytest.raises(Unauthenticated, match="argosy fleet token makes one"):
            devices.enrol(device("b", fleet=fleet), token=wrong, now=at)
    with pytest.raises(Unauthenticated):
        devices.enrol(device("b", fleet="boats"), token=token_of(devices), now=NOW)
    with database.read() as connection:
        rows = connection.execute(tokens_table.select()).all()
    assert rows
    assert text not in str(rows)


def test_a_device_that_lost_the_answer_enrols_again_by_the_same_key(devices: Devices) -> None:
    text = token_of(devices)
    devices.enrol(device("a"), token=text, now=NOW)
    again = devices.enrol(device("b", fingerprint=hashed("a")), token=text, now=NOW + 999)
    assert again.id == "a"
    with pytest.raises(Conflict, match="another fleet"):
        devices.enrol(device("a", fleet="boats"), token=text, now=NOW)
    devices.revoke("a", NOW, CAUSE)
    with pytest.raises(PermissionDenied, match="it is time"):
        devices.enrol(device("a"), token=text, now=NOW)


def test_a_name_that_is_taken_is_given_to_nobody_else_and_costs_no_use_of_the_token(devices: Devices) -> None:
    enrolled(devices, "a")
    text = token_of(devices)
    with pytest.raises(Conflict, match="there is a device 'a' already"):
        devices.enrol(device("a", fingerprint="other"), token=text, now=NOW)
    assert devices.enrol(device("b"), token=text, now=NOW).id == "b"


def test_a_session_takes_the_ratchet_of_the_one_before(devices: Devices) -> None:
    enrolled(devices, "a")
    assert devices.renew("a", "", "r1", {"machine": "x86_64"}, NOW).session == 1
    assert devices.renew("a", "", "r1b", {}, NOW).session == 2, "the answer was lost, and nothing was asked in it"
    devices.used("a", 2)
    assert devices.renew("a", "r1b", "r2", {}, NOW).session == 3
    assert devices.renew("a", "r1b", "r3", {}, NOW).session == 4, "the same, later"
    assert devices.renew("a", "r3", "r4", {}, NOW).session == 5, "it has r3, and used nothing"


def test_two_devices_with_one_key_are_both_suspended(devices: Devices) -> None:
    enrolled(devices, "a")
    devices.renew("a", "", "r1", {}, NOW)
    devices.used("a", 1)
    with pytest.raises(PermissionDenied, match="two devices have its key"):
        devices.renew("a", "", "r2", {}, NOW + 1)
    with pytest.raises(PermissionDenied, match="suspended"):
        devices.renew("a", "r1", "r3", {}, NOW + 2)
    found = devices.get("a")
    assert (found.state, found.since, found.session) == ("suspended", NOW + 1, 1)


def test_a_clone_that_comes_before_the_first_use_is_found_by_the_next_session(devices: Devices) -> None:
    enrolled(devices, "a")
    devices.renew("a", "", "mine", {}, NOW)
    devices.renew("a", "", "the clone's", {}, NOW)
    devices.used("a", 1)  # of the first, which is over: nothing
    with pytest.raises(PermissionDenied, match="two devices"):
        devices.renew("a", "mine", "next", {}, NOW)


def at_once(*calls: Callable[[], object]) -> list[object]:
    """What calls that begin at one moment give, or raise."""
    begin = threading.Barrier(len(calls))

    def run(call: Callable[[], object]) -> object:
        begin.wait()
        try:
            return call()
        except ArgosyError as error:
            return type(error)

    with ThreadPoolExecutor(len(calls)) as threads:
        return list(threads.map(run, calls))


def test_what_comes_at_one_moment_is_taken_in_turn(devices: Devices) -> None:
    enrolled(devices, "a")
    sessions = at_once(*(lambda at=at: devices.renew("a", "", f"r{at}", {}, NOW).session for at in range(4)))
    assert sorted(map(str, sessions)) == ["1", "2", "3", "4"], "no two have the same session"
    text = token_of(devices)
    found = at_once(*(lambda at=at: devices.enrol(device(f"b{at}"), token=text, now=NOW) for at in range(4)))
    assert found.count(Unauthenticated) == 3


def test_labels_are_merged_and_taken_away(devices: Devices) -> None:
    enrolled(devices, "a")
    devices.label("a", {"site": "north", "line": "1"}, CAUSE)
    assert devices.label("a", {"line": None, "row": "9"}, CAUSE).labels == {"site": "north", "row": "9"}
    assert devices.get("a").labels == {"site": "north", "row": "9"}
    with pytest.raises(NotFound, match="there is no device 'b'"):
        devices.label("b", {}, CAUSE)


def test_a_device_is_asked_what_it_is_assigned_to(fleets: Fleets, devices: Devices) -> None:
    enrolled(devices, "a", "b")
    asked = fleets.asked("a")
    assert asked is not None
    assert (asked.number, asked.envelope) == (0, None)
    heard: list[tuple[str, Collection[str]]] = []
    devices.listen(lambda fleet, names: heard.append((fleet, names)))
    one = deployed(fleets, "a")
    two = deployed(fleets, "a")
    assert (one, two) == (1, 2)
    fleets.move("cars", 2, "paused", "a look first", NOW, CAUSE)
    fleets.move("cars", 2, "paused", "again", NOW, CAUSE)
    assert heard == [("cars", ["a"]), ("cars", ["a"]), ("cars", ())]
    asked = fleets.asked("a")
    assert asked is not None
    assert (asked.number, asked.state, asked.envelope) == (2, "paused", b"signed")
    assert fleets.asked("c") is None
    assert [each.number for each in fleets.deployments("cars")] == [2, 1]
    assert [each.number for each in fleets.deployments(states=("running",))] == [1]


def test_a_device_that_is_left_out_keeps_what_it_has(fleets: Fleets, devices: Devices) -> None:
    enrolled(devices, "a")
    deployed(fleets, "a")
    number = deployed(fleets)
    out = Assignment(
        device="a", deployment=number, fleet="cars", state="left_out", reason="armv7", offered=NOW, changed=NOW
    )
    fleets.assign([out], {"wave": 1})
    assert devices.get("a").assigned == 1
    assert fleets.deployment("cars", number).policy == {"wave": 1}


def said(name: str, number: int, **others: object) -> Reported:
    return Reported(**({"device": name, "session": 1, "number": number, "phase": "trial"} | others))  # type: ignore[arg-type]


def test_a_report_counts_once_and_only_in_its_session(fleets: Fleets, devices: Devices) -> None:
    enrolled(devices, "a", "b")
    for name in "ab":
        devices.renew(name, "", "r", {}, NOW)
    number = deployed(fleets, "a", "b")
    one = said(
        "a", 1, index=number, counts={"stable_requests": 5, "agreed": 3}, candidate_latency=(0, 2), sent=2**40, lost=2
    )
    for _ in range(2):
        assert fleets.report([one, said("b", 1), said("nobody", 1)], NOW + 5) == [True, True, False]
    fleets.report([msgspec.structs.replace(one, number=2, candidate_latency=(1, 1, 1))], NOW + 6)
    assert fleets.report([msgspec.structs.replace(one, number=3, session=9)], NOW + 7) == [False]
    found = fleets.assignments("cars", number)[0]
    assert (found.stable_requests, found.agreed, found.candidate_latency) == (10, 6, (1, 3, 1))
    assert (found.sent, found.changed) == (2**40, NOW + 6)
    mine = devices.get("a")
    assert (mine.report, mine.phase, mine.lost, mine.seen) == (2, "trial", 4, NOW + 6)


def test_what_is_over_stays_as_it_ended(fleets: Fleets, devices: Devices) -> None:
    enrolled(devices, "a")
    devices.renew("a", "", "r", {}, NOW)
    number = deployed(fleets, "a")
    for at, state in enumerate(("trial", "rolled_back", "committed"), 1):
        fleets.report([said("a", at, outcomes=((number, state, f"because {at}"),))], NOW + at)
    found = fleets.assignments("cars", number)[0]
    assert (found.state, found.reason, found.changed) == ("rolled_back", "because 2", NOW + 2)
    waves = fleets.waves("cars", number)
    assert [(each.wave, each.state, each.devices) for each in waves] == [(0, "rolled_back", 1)]


def test_a_revoked_device_reports_nothing_more(fleets: Fleets, devices: Devices) -> None:
    enrolled(devices, "a")
    devices.renew("a", "", "r", {}, NOW)
    devices.revoke("a", NOW, CAUSE)
    assert fleets.report([said("a", 1)], NOW) == [False]
    assert devices.get("a").report == 0
    assert [tuple(each) for each in devices.counts("cars")] == [("revoked", "idle", 0, 1)]


def test_the_last_events_of_a_device_are_kept_each_once(fleets: Fleets, devices: Devices) -> None:
    enrolled(devices, "a")
    devices.renew("a", "", "r", {}, NOW)
    for number in range(1, 4):
        notes = tuple(
            DeviceNote(device="a", number=number * 256 + at, fleet="cars", at=0, received=NOW, kind="phase")
            for at in range(100)
        )
        fleets.report([said("a", number, notes=notes)], NOW)
    found = devices.events("a")
    assert len(found) == EVENTS
    assert found[0].number == 3 * 256 + 99
    assert len(devices.fleet_events("cars", NOW, ("phase",))) == EVENTS
    assert devices.fleet_events("cars", NOW, ("ended",)) == []


def test_devices_that_were_heard_are_noted_at_once(devices: Devices) -> None:
    enrolled(devices, "a", "b")
    devices.note_seen({"a": NOW + 9, "nobody": NOW})
    assert [each.seen for each in devices.of_fleet("cars")] == [NOW + 9, 0.0]


def test_the_ledger_says_who_did_what(database: Database, devices: Devices) -> None:
    enrolled(devices, "a")
    devices.revoke("a", NOW, CAUSE)
    with database.read() as connection:
        found = ledger.entries(connection, "fleet/cars")
    assert [(each.event, each.actor) for each in found] == [
        ("create", "ann"),
        ("token", "ann"),
        ("enrol", "argosy"),
        ("revoke", "ann"),
    ]
