"""Launches, on SQLite and PostgreSQL."""

import pytest
from msgspec.structs import replace

from argosy.spec.errors import NotFound
from argosy.spec.offer import Launch, Offer
from argosy.store.launches import LIVE, Launches

OFFER = Offer(provider="cloud", region="r1", instance="a10g.1", price=1.0)
LAUNCH = Launch(id="argosy-1-a", offer=OFFER, asked=100.0)


def test_an_intent_is_written_once(database):
    launches = Launches(database)
    assert launches.intend(LAUNCH) is LAUNCH
    assert launches.intend(replace(LAUNCH, asked=200.0)) == LAUNCH
    assert launches.live() == launches.live("cloud") == [LAUNCH]


def test_a_launch_changes_from_known_states_only(database):
    launches = Launches(database)
    launches.intend(LAUNCH)
    started = launches.move(LAUNCH.id, ("intended",), state="starting", machine="m-1", started=110.0, price=1.5)
    assert (started.state, started.machine, started.started) == ("starting", "m-1", 110.0)
    assert launches.move(LAUNCH.id, ("intended",), state="failed") == started
    ended = launches.move(LAUNCH.id, LIVE, state="ended", ended=200.0)
    assert launches.move(LAUNCH.id, LIVE, state="ready") == ended
    assert launches.live() == []
    with pytest.raises(NotFound, match="argosy supply ls"):
        launches.move("other", LIVE, state="ready")


def test_they_are_found_by_time_machine_and_address(database):
    launches = Launches(database)
    for number, (asked, ended) in enumerate([(100.0, 200.0), (150.0, None), (300.0, 400.0)]):
        launch = replace(LAUNCH, id=f"l{number}", asked=asked, machine=f"m{number}", address=f"h{number}", ended=ended)
        launches.intend(replace(launch, state="ready" if ended is None else "ended"))
    assert [each.id for each in launches.between(180.0, 250.0)] == ["l1", "l0"]
    assert [each.id for each in launches.between(250.0, 350.0)] == ["l2", "l1"]
    assert launches.known(["l0", "other"]) == {"l0": launches.get("l0")}
