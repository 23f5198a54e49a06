"""The last will of devices: an incident of one that fell silent, over when it is back, and no storm."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from argosy.monitoring.devices.lost import MOST, STARTS, LostDevices
from argosy.store.devices import DeviceNote, keep_notes
from tests.monitoring.devices.fleet import START, World

AFTER = 900.0


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    made = World(tmp_path)
    yield made
    made.store.close()


@pytest.fixture
def lost(world: World) -> LostDevices:
    return LostDevices(world.store, world.incidents.report, AFTER, lambda: world.now)


def firing(world: World) -> list[str]:
    return sorted(each.subject for each in world.alerts() if each.state == "firing")


def pass_time(world: World, lost: LostDevices, seconds: float, *heard: str) -> None:
    """Some devices are heard all the time."""
    end = world.now + seconds
    while world.now < end:
        world.now = min(end, world.now + 120)
        world.store.fleets.devices.note_seen(dict.fromkeys(heard, world.now))
        lost.turn()
        world.alerts()


def test_a_device_that_fell_silent_is_an_incident_until_it_is_back(world: World, lost: LostDevices):
    for name in ("till-1", "till-2"):
        world.device(name)
    pass_time(world, lost, 840, "till-2")
    assert firing(world) == []
    pass_time(world, lost, 180, "till-2")
    assert firing(world) == ["till-1 silent"]
    (alert,) = world.alerts()
    assert (alert.endpoint, alert.kind, alert.severity) == ("fleet.tills", "device", "ticket")
    assert "last heard" in alert.text
    pass_time(world, lost, AFTER + 600, "till-1", "till-2")
    assert firing(world) == []


@pytest.mark.slow
def test_one_that_comes_and_goes_is_one_incident(world: World, lost: LostDevices):
    world.device("till-1")
    for _ in range(3):
        pass_time(world, lost, AFTER + 300)
        pass_time(world, lost, 480, "till-1")
    assert [each.subject for each in world.alerts()] == ["till-1 silent"]


def test_of_many_at_once_there_is_one_incident_for_the_fleet(world: World, lost: LostDevices):
    for number in range(MOST + 5):
        world.device(f"till-{number:02}")
    pass_time(world, lost, AFTER + 300)
    assert firing(world) == ["silent"]
    assert "15 devices fell silent" in world.alerts()[0].text


def test_after_a_start_of_the_platform_devices_have_their_time_to_come(world: World):
    world.device("till-1", seen=START - 86400)
    lost = LostDevices(world.store, world.incidents.report, AFTER, lambda: world.now)
    pass_time(world, lost, AFTER - 60)
    assert firing(world) == []
    pass_time(world, lost, 120)
    assert firing(world) == ["till-1 silent"]


def test_a_device_that_was_revoked_or_just_enrolled_is_not_lost(world: World, lost: LostDevices):
    world.device("stolen", state="revoked")
    pass_time(world, lost, AFTER)
    world.device("new", seen=0.0, created=world.now)
    pass_time(world, lost, AFTER - 120)
    assert firing(world) == []


def test_an_agent_that_starts_again_and_again_is_an_incident(world: World, lost: LostDevices):
    world.device("till-1")
    pass_time(world, lost, AFTER + 60, "till-1")
    notes = [
        DeviceNote(device="till-1", number=number, fleet="tills", at=world.now, received=world.now, kind="started")
        for number in range(STARTS)
    ]
    with world.store.database.begin() as connection:
        keep_notes(connection, notes[:-1])
    lost.turn()
    assert firing(world) == []
    with world.store.database.begin() as connection:
        keep_notes(connection, notes[-1:])
    lost.turn()
    assert firing(world) == ["till-1 starts"]
    pass_time(world, lost, 1200, "till-1")
    assert firing(world) == []
