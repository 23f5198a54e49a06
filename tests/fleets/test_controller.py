"""What a platform does with deployments: whom it assigns, what stops one, what a restart changes."""

import asyncio

import pytest
import sqlalchemy as sa

from argosy.spec.errors import Conflict, NotFound
from argosy.store import ledger
from tests.fleets.conftest import CAUSE, Cars

NAMES = tuple(f"car-{each:02}" for each in range(20))


async def good(cars: Cars, number: int, seconds: float) -> None:
    """Devices take what they are given and commit it."""
    for _ in range(int(seconds / 100)):
        cars.report(number, "committed")
        await cars.passes(100)


def test_a_good_version_goes_from_wave_to_wave(cars: Cars) -> None:
    async def act() -> None:
        cars.enrol(*NAMES)
        number = await cars.deploy(reports=2)
        await cars.passes(300)
        assert len(cars.having(number)) == 2
        await good(cars, number, 400)
        assert len(cars.having(number)) == 10
        await good(cars, number, 1500)
        assert cars.having(number) == dict.fromkeys(NAMES, "committed")
        assert cars.state(number) == "done"
        status = await cars.deployments.status("cars", number)
        assert status.reason == "20 devices have it"
        assert status.states == ({"committed": 2}, {"committed": 8}, {"committed": 10})

    asyncio.run(act())


def test_a_bad_version_stops_in_its_first_wave_and_says_so(cars: Cars) -> None:
    async def act() -> None:
        cars.enrol(*NAMES)
        number = await cars.deploy()
        await cars.passes(20)
        cars.report(number, "rolled_back")
        await cars.passes(1000)
        assert len(cars.having(number)) == 2
        assert cars.state(number) == "stopped"
        (finding,) = cars.told["fleet.cars"]
        assert finding.severity == "page"
        assert "in wave 1: 2 of 2 devices that took it failed" in finding.reason
        await cars.deployments.order("cars", number, "abort", CAUSE)
        await cars.passes(10)
        assert cars.told["fleet.cars"] == []

    asyncio.run(act())


def test_a_restart_changes_nothing(cars: Cars) -> None:
    async def act() -> None:
        cars.enrol(*NAMES)
        number = await cars.deploy(reports=2)
        for _ in range(30):
            await cars.passes(30)
            cars.start()
            before = cars.having(number), cars.state(number)
            await cars.deployments.step()
            assert (cars.having(number), cars.state(number)) == before
        assert len(cars.having(number)) == 2
        cars.report(number, "committed")
        for _ in range(3):
            await cars.passes(30)
            cars.start()
        assert len(cars.having(number)) == 10

    asyncio.run(act())


def test_devices_that_are_offline_join_when_they_are_back(cars: Cars) -> None:
    async def act() -> None:
        cars.enrol(*NAMES[:4])
        cars.now += 1000
        number = await cars.deploy(waves=[{}], seconds=60)
        await cars.passes(60, *NAMES[:2])
        cars.report(number, "committed")
        await cars.passes(100, *NAMES[:2])
        assert set(cars.having(number)) == set(NAMES[2:4])
        assert cars.state(number) == "done"
        cars.enrol(NAMES[5])
        await cars.passes(30)
        assert set(cars.having(number)) == {*NAMES[:4], NAMES[5]}

    asyncio.run(act())


def test_devices_that_took_it_and_fall_silent_stop_it(cars: Cars) -> None:
    async def act() -> None:
        cars.enrol(*NAMES)
        number = await cars.deploy(waves=[{"devices": 6}, {}], reports=3, stop={"silence": 300})
        await cars.passes(20)
        had = tuple(cars.having(number))
        cars.report(number, "committed", *had[:3])
        cars.report(number, "trial", *had[3:])
        await cars.passes(800, *had[3:])
        assert cars.state(number) == "stopped"
        assert "3 of 6 devices that took it failed (3 fell silent)" in cars.store.fleets.deployment("cars", number).why

    asyncio.run(act())


def test_an_outage_of_all_devices_is_no_fault_of_the_version(cars: Cars) -> None:
    async def act() -> None:
        cars.enrol(*NAMES, *(f"{name}-b" for name in NAMES))
        number = await cars.deploy(waves=[{"devices": 6}, {}], reports=3, stop={"silence": 300})
        await cars.passes(20)
        cars.report(number, "trial")
        everyone = [each.id for each in cars.store.fleets.devices.of_fleet("cars")]
        await cars.passes(500, *everyone)
        assert cars.state(number) != "stopped"

    asyncio.run(act())


def test_what_all_devices_answered_is_added_up_once(cars: Cars) -> None:
    async def act() -> None:
        cars.enrol(*NAMES)
        number = await cars.deploy(waves=[{"devices": 10}, {}])
        await cars.passes(20)
        counts = {"candidate_requests": 90, "candidate_errors": 1, "stable_requests": 90, "stable_errors": 1}
        cars.report(number, "trial", **counts)
        await cars.passes(100)
        cars.start()
        await cars.passes(100)
        guard = cars.store.fleets.deployment("cars", number).policy["guard"]
        assert guard["candidate"] == guard["stable"] | {"requests": 900, "errors": 10}
        cells = {"stable_latency": (0, 9), "candidate_latency": (0, 8, 1)}
        cars.report(number, "trial", cells=cells, **counts | {"candidate_errors": 60})
        for _ in range(3):
            await cars.passes(30)
        assert (await cars.deployments.status("cars", number)).state == "stopped"

    asyncio.run(act())


def test_one_device_does_not_decide_alone(cars: Cars) -> None:
    async def act() -> None:
        cars.enrol(*NAMES)
        number = await cars.deploy(waves=[{"devices": 10}, {}], trial={"errors": 0.2})
        await cars.passes(20)
        had = tuple(cars.having(number))
        many = {"candidate_requests": 5000, "stable_requests": 5000}
        cars.report(number, "trial", *had[1:], **many)
        cars.report(number, "trial", had[0], **many, candidate_errors=1_500)
        cars.report(number, "trial", had[0], candidate_requests=2**30, candidate_errors=2**30)
        await cars.passes(100)
        assert cars.state(number) == "running"

    asyncio.run(act())


def test_groups_run_several_versions_at_once(cars: Cars) -> None:
    async def act() -> None:
        cars.enrol(*NAMES[:4], labels={"site": "a"})
        cars.enrol(*NAMES[4:8], labels={"site": "b"})
        one = await cars.deploy(match={"site": "a"}, waves=[{}])
        two = await cars.deploy(match={"site": "b"}, model="digits:2", waves=[{}])
        await cars.passes(20)
        assert set(cars.having(one)) == set(NAMES[:4])
        assert set(cars.having(two)) == set(NAMES[4:8])
        assert (cars.state(one), cars.state(two)) == ("running", "running")

    asyncio.run(act())


def test_waves_by_label(cars: Cars) -> None:
    async def act() -> None:
        cars.enrol(*NAMES[:3], labels={"ring": "test"})
        cars.enrol(*NAMES[3:10])
        number = await cars.deploy(waves=[{"match": {"ring": "test"}}, {}], reports=3)
        await cars.passes(700)
        assert set(cars.having(number)) == set(NAMES[:3])
        await good(cars, number, 200)
        assert set(cars.having(number)) == set(NAMES[:10])

    asyncio.run(act())


def test_a_newer_deployment_takes_the_place_of_one_that_is_under_way(cars: Cars) -> None:
    async def act() -> None:
        cars.enrol(*NAMES)
        one = await cars.deploy()
        await cars.passes(20)
        two = await cars.deploy(model="digits:2")
        await cars.passes(20)
        assert cars.state(one) == "superseded"
        assert len(cars.having(one)) == 2
        assert len(cars.having(two)) == 2
        numbers = {each.assigned for each in cars.store.fleets.devices.of_fleet("cars")}
        assert two in numbers

    asyncio.run(act())


def test_who_never_got_the_version_that_was_stopped_gets_the_one_before(cars: Cars) -> None:
    async def act() -> None:
        cars.enrol(*NAMES[:4])
        one = await cars.deploy(waves=[{}], seconds=10)
        await good(cars, one, 200)
        assert cars.state(one) == "done"
        two = await cars.deploy(model="digits:2", waves=[{"devices": 2}, {}])
        await cars.passes(20)
        cars.report(two, "rolled_back")
        cars.enrol("late")
        await cars.passes(50)
        assert cars.state(two) == "stopped"
        assert "late" in cars.having(one)
        assert "late" not in cars.having(two)

    asyncio.run(act())


def test_devices_that_cannot_run_it_are_left_out_with_the_reason(cars: Cars) -> None:
    async def act() -> None:
        cars.enrol("old", onnxruntime="1.20.0")
        cars.enrol("arm", machine="armv7l")
        cars.enrol("small", memory=32 * 2**20)
        cars.enrol("well")
        number = await cars.deploy(waves=[{}])
        await cars.passes(30)
        assert set(cars.having(number)) == {"well"}
        found = await cars.deployments.status("cars", number)
        assert found.left_out == {
            "needs onnxruntime 1.24 or later, below 2; the device has 1.20.0": 1,
            "runs on x86_64 and aarch64, not on armv7l": 1,
            "takes at least 64 MiB of memory; the device has 32 MiB": 1,
        }

    asyncio.run(act())


def test_a_device_that_was_revoked_gets_nothing(cars: Cars) -> None:
    async def act() -> None:
        cars.enrol(*NAMES[:3])
        number = await cars.deploy(waves=[{}])
        cars.store.fleets.devices.revoke(NAMES[0], cars.now, CAUSE)
        await cars.passes(30)
        assert set(cars.having(number)) == set(NAMES[1:3])

    asyncio.run(act())


def test_a_label_moves_a_device_into_a_group(cars: Cars) -> None:
    async def act() -> None:
        cars.enrol(*NAMES[:2])
        number = await cars.deploy(match={"site": "a"}, waves=[{}])
        await cars.passes(30)
        assert not cars.having(number)
        cars.store.fleets.devices.label(NAMES[0], {"site": "a"}, CAUSE)
        await cars.passes(10)
        assert set(cars.having(number)) == {NAMES[0]}

    asyncio.run(act())


def test_orders_are_in_the_ledger(cars: Cars) -> None:
    async def act() -> None:
        cars.enrol(*NAMES)
        number = await cars.deploy()
        await cars.deployments.order("cars", number, "pause", CAUSE)
        await cars.passes(30)
        assert (cars.having(number), cars.state(number)) == ({}, "paused")
        await cars.deployments.order("cars", number, "resume", CAUSE)
        await cars.passes(30)
        assert len(cars.having(number)) == 2
        await cars.deployments.order("cars", number, "abort", CAUSE)
        await cars.passes(30)
        assert cars.state(number) == "aborted"
        with pytest.raises(Conflict, match="is aborted"):
            await cars.deployments.order("cars", number, "resume", CAUSE)
        with pytest.raises(NotFound, match="has no deployment 9"):
            await cars.deployments.order("cars", 9, "abort", CAUSE)
        with cars.store.database.read() as connection:
            found = ledger.entries(connection, "fleet/cars")
        orders = [(each.body.get("state"), each.actor, each.reason) for each in found if each.event == "deployment"]
        assert orders == [(state, "ann", "it is time") for state in ("paused", "running", "aborted")]

    asyncio.run(act())


def test_a_pass_costs_the_same_few_statements_however_many_devices_there_are(cars: Cars) -> None:
    async def act() -> list[int]:
        counted: list[int] = []
        cars.enrol(*NAMES)
        await cars.deploy(waves=[{}])
        await cars.passes(20)
        statements: list[str] = []
        sa.event.listen(cars.store.database.engine, "before_cursor_execute", lambda *args: statements.append(args[2]))
        for _ in range(2):
            statements.clear()
            await cars.deployments.step()
            counted.append(len(statements))
            cars.enrol(*(f"more-{each}" for each in range(60)))
            await cars.passes(20)
        return counted

    few, many = asyncio.run(act())
    assert many <= few
