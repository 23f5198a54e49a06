"""Groups of machines through the task that keeps them, at clouds that are played and with a clock set by hand."""

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace

from argosy.spec.errors import InvalidArgument, StorageFull
from argosy.spec.offer import Launch, Offer
from argosy.spec.provider import Faults
from argosy.spec.settings import Settings
from argosy.spec.strict import convert
from argosy.spec.supply import MachineGroup, SupplySettings
from argosy.store import groups as store
from argosy.store.database import Database
from argosy.store.launches import Launches
from argosy.supply.commands import Commands
from argosy.supply.groups import Groups, GroupStatus
from argosy.supply.launcher import Launcher
from argosy.supply.replay import Replay, Trace
from prove import spot

SPOT = MachineGroup(machines=2, gpu="A10G", market="spot")
TICK = SPOT.every


def offer(zone: str, price: float, market: Any = "spot") -> Offer:
    return Offer(provider="", region="r", zone=zone, instance="a10g.1", price=price, gpu="A10G", count=1, market=market)


SOLD = (offer("a", 0.3), offer("b", 0.3), offer("c", 0.3), offer("", 1.0, "on_demand"))


class Scene:
    """The groups of `settings` at clouds that are played; `restart` is what a platform that was killed begins with."""

    def __init__(self, path: Path, clouds: dict[str, dict[str, Any]], **groups: MachineGroup) -> None:
        self.now, self.path = 1e6, path
        self.database = Database(path / "launches.db")
        self.clouds = {
            name: Replay(name, clock=lambda: self.now, ready=100.0, **({"offers": SOLD} | given))
            for name, given in clouds.items()
        }
        self.settings, self.busy = SupplySettings(groups=groups), dict[str, int]()
        self.moves = False
        self.restart()

    def restart(self) -> None:
        self.launcher = Launcher(Launches(self.database), self.clouds, clock=lambda: self.now)
        vacate = [self.vacate] if self.moves else []
        commands = Commands(self.path / "log")
        self.groups = Groups(self.launcher, self.settings, commands, vacate, clock=lambda: self.now)

    async def vacate(self, hosts):
        self.told = set(hosts)
        return {host: self.busy.get(host, 0) for host in hosts}

    def tick(self, seconds: float = TICK) -> GroupStatus:
        """One round of everything, so many seconds later; how the first group stands then."""
        self.now += seconds
        for name in self.clouds:
            self.launcher.tend(name)
        asyncio.run(self.groups._round())
        for name in self.clouds:
            self.launcher.tend(name)
        return self.groups.status()[0]

    def running(self) -> list[str]:
        """Zones, by cloud, in which a machine is billed."""
        bills = [(name, each) for name, cloud in self.clouds.items() for each in cloud.bill()]
        return sorted(f"{name}/{each.offer.zone or 'on demand'}" for name, each in bills if each.ended is None)


@pytest.fixture
def scene(tmp_path: Path):
    made = list[Scene]()

    def make(clouds=None, **groups: MachineGroup) -> Scene:
        made.append(Scene(tmp_path, clouds or {"one": {}}, **groups))
        return made[-1]

    yield make
    for each in made:
        each.database.close()


def test_spot_is_held_and_on_demand_stands_in_until_it_serves(scene):
    it = scene(g=SPOT)
    begun = it.tick()
    assert (begun.ready, begun.wanted) == (0, 2)
    assert begun.coming >= 3
    assert it.running().count("one/on demand") == 2
    it.tick()
    for _ in range(3):
        stands = it.tick()
    assert (stands.spot >= 2, stands.on_demand, stands.coming, stands.leaving) == (True, 0, 0, 0)
    assert stands.hourly == pytest.approx(0.3 * stands.spot)
    assert stands.risk is not None
    assert 0 < stands.risk < 0.2
    assert "on spot for" in stands.reason


def test_what_is_lost_is_replaced_at_once_and_seen_in_the_ledger(scene):
    gone = Trace(seconds=TICK / 2, capacity=[2] * 15 + [0] * 100)
    it = scene({"one": {"traces": {"a": gone, "b": gone}}}, g=SPOT)
    for _ in range(7):
        it.tick()
    assert {"one/a", "one/b"} & {*it.running()}
    after = it.tick(0.6 * TICK)  # no look is due
    assert after.ready + after.coming >= 2
    assert not {"one/a", "one/b"} & {*it.running()}
    with it.database.read() as connection:
        told = connection.exec_driver_sql("SELECT event, body FROM ledger WHERE subject = 'group/g'").all()
    assert any(event == "weighed" and '"lost":2' in body.replace(" ", "") for event, body in told)


def test_a_launch_that_fails_goes_on_to_the_next_offer_and_waits_longer_each_time(scene):
    cheap, dear = (offer("", price, "on_demand") for price in (1.0, 2.0))
    refuses = {"offers": (cheap,), "faults": Faults(refused=1.0)}
    it = scene({"one": refuses, "two": {"offers": (dear,)}}, g=MachineGroup(machines=1))
    for _ in range(3):
        it.tick(10.0)
    assert it.running() == ["two/on demand"]
    assert len(it.launcher.launches.of(it.groups.prefix("g"), 0.0)) == 2
    it.clouds["two"].end(it.launcher.launches.live()[0])
    it.clouds["two"].faults = Faults(refused=1.0)
    for _ in range(30):
        it.tick(20.0)
    asked = [each.offer.provider for each in it.launcher.launches.of(it.groups.prefix("g"), 0.0)]
    assert asked.count("one") == 4  # at 0, 60, 180 and 420 seconds after it failed
    assert asked.count("two") <= 5


@pytest.mark.parametrize("moment", ["put", "note", "request", "release"])
def test_a_platform_that_is_killed_after_each_step_asks_for_nothing_twice(scene, monkeypatch, moment):
    """Every other time something is written down, it is the last thing that the platform does."""
    it, count = scene(g=SPOT), 0
    where = store if moment in ("put", "note") else Launcher
    done = getattr(where, moment)

    def killed(*given: Any, **more: Any) -> Any:
        nonlocal count
        count, found = count + 1, done(*given, **more)
        if count % 2 == 0:
            raise StorageFull("killed")
        return found

    it.moves = True
    it.restart()
    with monkeypatch.context() as patch:
        patch.setattr(where, moment, killed)
        for _ in range(10):
            try:
                it.tick()
            except StorageFull:
                it.restart()
    for _ in range(4):
        stands = it.tick()
    assert (stands.spot in range(2, 6), stands.on_demand, stands.coming, stands.leaving) == (True, 0, 0, 0)
    assert len(it.running()) == stands.ready == len(it.launcher.launches.live())
    assert count >= 2


def test_a_machine_that_is_taken_back_counts_no_more_and_goes_once_its_replicas_have_moved(scene):
    taken = Trace(seconds=TICK, capacity=[2] * 10 + [0] * 100)
    group = replace(SPOT, machines=1, drain=300.0)
    it = scene({"one": {"traces": {"a": taken}, "offers": (SOLD[0], SOLD[3]), "faults": Faults(notice=120.0)}}, g=group)
    it.moves = True
    it.restart()
    for _ in range(9):
        it.tick()
    assert it.running() == ["one/a"]
    (spot_machine,) = it.launcher.launches.live()
    it.busy[spot_machine.address] = 1
    it.now += TICK - 125.0
    stands = it.tick(10.0)
    assert (stands.ready, stands.leaving, stands.on_demand) == (0, 1, 0)
    assert it.told == {spot_machine.address, spot_machine.machine}
    assert it.running() == ["one/a", "one/on demand"]
    assert it.tick(10.0).leaving == 1
    it.busy.clear()
    for _ in range(3):
        it.tick(5.0)
    assert it.running() == ["one/on demand"]
    ended = it.launcher.launches.get(spot_machine.id)
    assert ended.state == "ended"


def test_replicas_that_do_not_move_keep_no_machine_for_ever(scene):
    it = scene(g=replace(MachineGroup(machines=1), drain=300.0))
    it.moves = True
    it.restart()
    for _ in range(4):
        it.tick(50.0)
    (machine,) = it.launcher.launches.live()
    it.busy[machine.address] = 3
    it.settings = SupplySettings(groups={"g": MachineGroup(machines=0, drain=300.0)})
    it.restart()
    for _ in range(5):
        it.tick(50.0)
    assert it.running() == ["one/on demand"]
    for _ in range(4):
        it.tick(50.0)
    assert it.running() == []


def test_zones_that_come_and_go_are_remembered_by_their_names(scene):
    it = scene(g=SPOT)
    for _ in range(4):
        it.tick()
    before = store.group(it.database, "g")
    known = json.loads(before.state)["zones"][before.zones.index("one/b")]
    assert known["up"] is True
    it.clouds["one"]._offers = [replace(each, provider="one") for each in (offer("z", 0.1), *SOLD[1:])]
    it.tick()
    after = store.group(it.database, "g")
    assert [*after.zones] == [name for name in ("one/a", "one/b", "one/c", "one/z") if name in after.zones]
    assert "one/z" in after.zones
    assert json.loads(after.state)["zones"][after.zones.index("one/b")]["since"] == known["since"]
    with it.database.read() as connection:
        (body,) = connection.exec_driver_sql("SELECT body FROM ledger WHERE event = 'prices'").scalars().all()
    assert json.loads(body)["one/z"] == [None, 0.1]


def test_machines_of_a_group_that_is_declared_no_more_are_given_back(scene):
    it = scene(g=MachineGroup(machines=2))
    for _ in range(3):
        it.tick(60.0)
    it.settings = SupplySettings()
    it.restart()
    it.tick(10.0)
    stands = it.tick(10.0)
    assert (stands.name, stands.wanted, stands.leaving) == ("g", 0, 0)
    assert it.running() == []


def test_a_machine_counts_once_its_command_has_made_it_part_of_the_cluster(scene):
    """Its command fails once."""
    script = 'echo "$0 is here" >> joined; test -e again || { touch again; echo no room >&2; exit 3; }'
    join = ("sh", "-c", f"cd {{folder}}; {script}", "{address}")
    it = scene(g=MachineGroup(machines=1))
    words = tuple(each.replace("{folder}", str(it.path)) for each in join)
    it.settings = SupplySettings(groups={"g": MachineGroup(machines=1, join=words)})
    it.restart()
    for _ in range(5):
        stands = it.tick(30.0)
    assert (stands.ready, stands.coming) == (0, 1)
    (machine,) = it.launcher.launches.live()
    for process, *_ in it.groups._commands._running.values():
        process.wait(60.0)
    it.tick(1.0)
    assert store.machines(it.database, [machine.id])[machine.id].tries == 1
    it.tick(61.0)
    for process, *_ in it.groups._commands._running.values():
        process.wait(60.0)
    assert it.tick(1.0).ready == 1
    assert (it.path / "joined").read_text() == f"{machine.address} is here\n" * 2


def test_a_machine_that_never_joins_is_given_back(scene):
    it = scene(g=MachineGroup(machines=1, join=("false",)))
    for _ in range(16):
        it.tick(200.0)
        for process, *_ in it.groups._commands._running.values():
            process.wait(60.0)
    first, *_ = it.launcher.launches.of(it.groups.prefix("g"), 0.0)
    assert first.state == "ended"
    with it.database.read() as connection:
        reasons = connection.exec_driver_sql("SELECT reason FROM ledger WHERE event = 'ending'").scalars().all()
    assert "it did not join: exit status 1" in reasons


def test_what_a_provider_calls_a_machine_is_part_of_no_command_of_its_own(tmp_path):
    it = Commands(tmp_path / "log")
    (sold,) = Replay("x", SOLD[:1]).offers()
    for address in ("-oProxyCommand=x", "a; touch /x", "$(x)"):
        launch = Launch(id="argosy-1-a", offer=sold, asked=0.0, address=address)
        assert "is given to no command" in (it.done(launch, ("echo", "{address}")) or "")
    assert not (tmp_path / "log").exists()


@pytest.mark.parametrize(
    ("group", "said"),
    [
        ({}, "machines"),
        ({"machines": 1, "zone": 0}, "zone must be at least 1"),
        ({"machines": 1, "gpus": 2}, "did you mean 'gpu'"),
        ({"machines": 1, "providers": ["moon"]}, "'moon' is not in supply.providers"),
        ({"machines": 33, "market": "spot"}, "machines on spot are at most 32"),
        ({"machines": 1, "join": ["ssh", "{host}"]}, "not '{host}'"),
        ({"machines": 1, "count": 0}, "count must be 1 at least"),
    ],
)
def test_what_cannot_be_meant_is_refused(group, said):
    with pytest.raises(InvalidArgument, match=said.replace("{", r"\{")):
        convert({"supply": {"groups": {"g": group}}}, Settings, "config.yaml")


@pytest.mark.slow
@pytest.mark.skipif(not spot.DATA.is_dir(), reason=f"the spot traces are not at {spot.DATA}")
def test_the_task_holds_what_the_policy_holds_on_a_trace():
    """A cloud with the capacity of a public trace bills what the policy alone comes to."""
    trace = spot.read(spot.DATA).part(0.5, 0.515)
    hedge = spot.Hedge(zones=spot.zones(trace, 0.3), replicas=4, on_demand=1.0)
    pure, live = spot.replay(trace, hedge, spot.ours(hedge), "policy"), spot.live(trace, hedge)
    assert (live.launches, live.lost) == (pure.launches, pure.lost)
    assert live.cost == pytest.approx(pure.cost, abs=0.005)
    assert live.short == pure.short
