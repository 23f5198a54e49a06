"""Launches by the control API: what is written down, and what is refused."""

from types import SimpleNamespace

import pytest
from msgspec.structs import replace

from argosy.api.route import Why
from argosy.api.supply import NewLaunch, WhichLaunches, allow, end, evicted, groups, launch, launches
from argosy.spec.errors import InvalidArgument, NotFound, Unavailable
from argosy.spec.supply import MachineGroup, SupplySettings
from argosy.supply.commands import Commands
from argosy.supply.groups import Groups
from tests.supply.conftest import OFFER, scene

__all__ = ["scene"]
BODY = NewLaunch(provider="cloud", gpu="A10G", actor="ann", reason="more")


def services(it):
    return SimpleNamespace(
        launcher=it.launcher,
        store=SimpleNamespace(database=it.database),
        settings=SimpleNamespace(supply=SupplySettings()),
    )


async def test_a_launch_is_written_down_once_and_done_by_the_next_round(scene):
    it = scene()
    made = await launch(services(it), "a1", BODY)
    assert (made.state, made.offer.instance) == ("intended", "a10g.1")
    assert await launch(services(it), "a1", replace(BODY, gpu="H100")) == made
    it.rounds(20)
    listed = await launches(services(it), WhichLaunches())
    assert [(each.id, each.state) for each in listed.launches] == [(made.id, "ready")]
    assert listed.findings == []
    assert (await end(services(it), "a1", Why())).state == "ending"
    it.rounds(2)
    assert (await end(services(it), made.id, Why())).state == "ended"


async def test_groups_are_listed_as_they_stand(scene, tmp_path):
    it = scene()
    settings = SupplySettings(groups={"g": MachineGroup(machines=1, gpu="A10G")})
    made = Groups(it.launcher, settings, Commands(tmp_path / "log"), clock=it.clock)
    made.turn()
    it.rounds(20)
    (found,) = (await groups(SimpleNamespace(groups=made))).groups
    assert (found.name, found.ready, found.on_demand, found.hourly) == ("g", 1, 1, 1.0)


async def test_hosts_that_are_evicted_are_listed_and_allowed(scene, tmp_path):
    it = scene()
    made = Groups(it.launcher, SupplySettings(), Commands(tmp_path / "log"), clock=it.clock)
    api = SimpleNamespace(groups=made, store=SimpleNamespace(database=it.database))
    made.evictions.evict("10.0.0.7", "it lies")
    (found,) = await evicted(api)
    assert (found.host, found.names) == ("10.0.0.7", ("10.0.0.7",))
    await allow(api, "10.0.0.7", Why())
    assert await evicted(api) == []


async def test_what_differs_is_listed(scene):
    it = scene(dear=2.0)
    await launch(services(it), "a1", BODY)
    it.rounds(3)
    (finding,) = (await launches(services(it), WhichLaunches())).findings
    assert (finding.kind, finding.price) == ("dear", 2.0)


async def test_what_cannot_be_launched_is_refused_and_written_nowhere(scene):
    it = scene()
    with pytest.raises(NotFound, match="nothing is offered with provider cloud, gpu H100"):
        await launch(services(it), "a1", replace(BODY, gpu="H100"))
    with pytest.raises(NotFound, match=r"for 0\.5 \$/h: it takes 1 "):
        await launch(services(it), "a1", replace(BODY, most=0.5))
    with pytest.raises(NotFound, match="there is no provider 'moon'"):
        await launch(services(it), "a1", replace(BODY, provider="moon"))
    with pytest.raises(InvalidArgument, match="a token has 1 to 24"):
        await launch(services(it), "A_1", BODY)
    with pytest.raises(NotFound, match="there is no launch 'b2'"):
        await end(services(it), "b2", Why())
    assert it.launches.live() == []
    assert OFFER.price == 1.0


async def test_a_provider_that_does_not_answer_says_why(scene, monkeypatch):
    it = scene()

    def away():
        raise Unavailable("cloud cannot be reached")

    monkeypatch.setattr(it.cloud, "offers", away)
    with pytest.raises(Unavailable, match="cloud cannot be reached"):
        await launch(services(it), "a1", BODY)
