"""What becomes of a launch when its provider behaves, and when it does not."""

import asyncio
import threading

import msgspec
import pytest
from msgspec.structs import replace

from argosy.spec.errors import Conflict, NotFound, RateLimited, Unavailable
from argosy.spec.offer import Launch
from argosy.store import ledger
from argosy.supply.launcher import Memory, Patience, decide, pick
from argosy.supply.provider import Event
from argosy.supply.replay import Replay, Trace
from tests.supply.conftest import OFFER


def test_a_launch_is_written_down_before_it_is_asked_for_and_booked_at_its_true_price(scene):
    it = scene(dear=1.5)
    launch = it.launcher.request(OFFER)
    assert it.stands(launch).state == "intended"
    assert not it.cloud.bill()
    it.rounds()
    begun = it.stands(launch)
    assert (begun.state, begun.price, begun.machine) == ("starting", 1.5, "m-000000")
    (finding,) = it.rounds(20)
    assert (finding.kind, finding.said) == ("dear", "the offer said 1 $/h, 1.5 $/h is taken")
    ready = it.stands(launch)
    assert (ready.state, ready.started, ready.ready) == ("ready", begun.started, begun.started + 120.0)
    it.launcher.release(launch.id)
    it.rounds(2)
    ended = it.stands(launch)
    assert (ended.state, ended.reason, it.running()) == ("ended", "", [])
    (billed,) = it.cloud.bill()
    assert (ended.started, ended.ended, ended.price) == (billed.started, billed.ended, billed.price)


def test_the_same_token_is_the_same_launch(scene):
    it = scene()
    one = it.launcher.request(OFFER, token="a")
    assert it.launcher.request(OFFER, token="a") == one
    it.rounds(3)
    assert it.launcher.request(OFFER, token="a").state == "starting"
    assert len(it.cloud.bill()) == 1
    with pytest.raises(Conflict, match="give another token"):
        it.launcher.request(replace(OFFER, instance="h100.8"), token="a")
    with pytest.raises(NotFound, match="there are cloud"):
        it.launcher.request(replace(OFFER, provider="moon"))


def test_a_provider_that_times_out_after_it_has_launched_is_not_asked_for_a_second_machine(scene):
    it = scene(lost=1.0)
    launch = it.launcher.request(OFFER)
    it.rounds(20)
    assert it.stands(launch).state == "ready"
    assert len(it.cloud.bill()) == 1


def test_a_provider_that_never_answers_is_given_up(scene):
    it = scene(dropped=1.0)
    launch = it.launcher.request(OFFER)
    it.rounds(2)
    assert (it.stands(launch).state, it.stands(launch).reason) == ("intended", "cloud did not answer in time")
    it.rounds(100)
    failed = it.stands(launch)
    assert (failed.state, failed.started) == ("failed", None)
    assert failed.reason == "it was not answered within 910 s: cloud did not answer in time"


def test_a_provider_whose_list_times_out_changes_nothing(scene, monkeypatch):
    it = scene()
    launch = it.launcher.request(OFFER)
    it.rounds(20)

    def away() -> list[Launch]:
        raise Unavailable("cloud did not answer")

    with monkeypatch.context() as patch:
        patch.setattr(it.cloud, "list", away)
        (error,) = it.rounds(50)
        assert error.message == "cloud did not answer"
    assert it.stands(launch).state == "ready"


def test_what_is_refused_fails_with_the_reason(scene):
    it = scene(quotas={"r1": 1})
    first, second = it.launcher.request(OFFER), it.launcher.request(OFFER)
    it.rounds(3)
    states = {it.stands(each).state: it.stands(each).reason for each in (first, second)}
    assert states == {"starting": "", "failed": "the quota of cloud in r1 is spent"}


def test_a_quota_that_is_spent_by_a_launch_whose_answer_was_lost_is_no_refusal(scene, monkeypatch):
    """The first ask made a machine that is in no list yet; the provider knows no ids, and refuses the second."""
    it = scene(lag=60.0)
    make = it.cloud.launch

    def launch_once(launch: Launch) -> Launch:
        if it.cloud.bill():
            raise RateLimited("the quota is spent")
        make(launch)
        raise Unavailable("the connection broke")

    monkeypatch.setattr(it.cloud, "launch", launch_once)
    launch = it.launcher.request(OFFER)
    it.rounds(20)
    assert it.stands(launch).state == "ready"
    assert len(it.running()) == 1


def test_one_that_is_accepted_and_never_starts_is_given_up_and_ended(scene):
    it = scene(never=1.0)
    launch = it.launcher.request(OFFER)
    it.rounds(125)
    assert it.stands(launch).state == "failed"
    assert it.stands(launch).reason == "it was accepted and did not serve within 1210 s"
    assert it.running() == []


def test_of_two_machines_of_one_launch_one_is_ended(scene):
    it = scene(twice=1.0)
    launch = it.launcher.request(OFFER)
    it.rounds()
    assert len(it.running()) == 2
    (finding,) = it.rounds()
    assert (finding.kind, finding.machine) == ("double", "m-000001")
    assert it.rounds(20) == []
    assert [each.machine for each in it.running()] == [it.stands(launch).machine]


def test_what_is_billed_after_its_end_is_found_and_ended_again(scene):
    it = scene(stays=1.0)
    launch = it.launcher.request(OFFER)
    it.rounds(15)
    it.launcher.release(launch.id)
    it.rounds()
    assert it.stands(launch).state == "ending"
    it.rounds(2)
    assert (it.stands(launch).state, it.running()) == ("ended", [])


def test_a_machine_that_comes_after_its_launch_was_given_up_is_ended(scene):
    it = scene(lag=1000.0, lost=1.0)
    launch = it.launcher.request(OFFER)
    it.rounds(98)
    assert it.stands(launch).state == "failed"
    assert it.running()
    it.rounds(5)
    assert it.running() == []


def test_a_machine_with_an_id_of_ours_that_nobody_wrote_down_is_ended_and_others_are_left(scene):
    it = scene()
    mine = Launch(id=it.launcher.name("lost"), offer=OFFER, asked=1.0)
    for name in (mine.id, "argosy-otherplatform-1", ""):
        it.cloud.launch(replace(mine, id=name))
    found = it.rounds()
    assert [(each.kind, each.launch) for each in found] == [("nameless", ""), ("unknown", mine.id)]
    assert [each.id for each in it.running()] == ["argosy-otherplatform-1", ""]


def test_what_the_provider_takes_back_is_preempted_with_a_notice_before(scene):
    spot = replace(OFFER, market="spot", price=0.3)
    it = scene(notice=120.0, traces={"r1a": Trace(seconds=300.0, capacity=[1, 1, 0, 1])})
    launch = it.launcher.request(spot)
    it.rounds(50)
    assert it.stands(launch).reason == "the provider takes it back in 120 s"
    it.rounds(12)
    lost = it.stands(launch)
    assert (lost.state, lost.ended) == ("ended", 1600.0)
    again = it.launcher.request(spot)
    it.rounds(2)
    assert it.stands(again).reason == "cloud has no spot capacity of a10g.1 in r1a"


def test_what_is_in_no_list_for_long_is_gone(scene, monkeypatch):
    it = scene()
    launch = it.launcher.request(OFFER)
    it.rounds(20)
    monkeypatch.setattr(it.cloud, "list", list)
    (finding,) = it.rounds(12)
    assert (finding.kind, it.stands(launch).state) == ("lost", "ready")
    since = it.now - 110.0
    it.rounds(2)
    gone = it.stands(launch)
    assert (gone.state, gone.ended, gone.reason) == ("ended", since, "the provider does not have it any more")


def test_a_controller_that_is_killed_finds_what_it_asked_for(scene):
    it = scene(lost=1.0)
    launch = it.launcher.request(OFFER)
    it.rounds()
    it.restart()
    it.rounds(20)
    assert it.stands(launch).state == "ready"
    assert len(it.cloud.bill()) == 1


def test_an_event_of_a_machine_that_is_there_again_changes_nothing(scene, monkeypatch):
    it = scene()
    launch = it.launcher.request(OFFER)
    it.rounds(20)
    monkeypatch.setattr(it.cloud, "events", lambda: [Event(launch=launch.id, kind="preempted", at=1.0)])
    it.rounds()
    assert it.stands(launch).state == "ready"


def test_every_state_is_in_the_ledger(scene):
    it = scene()
    launch = it.launcher.request(OFFER, cause=ledger.Cause(actor="ann", reason="more"))
    it.rounds(20)
    it.launcher.release(launch.id)
    it.rounds(2)
    with it.database.read() as connection:
        entries = ledger.entries(connection, f"launch/{launch.id}")
    assert sorted(each.event for each in entries) == ["ended", "ending", "launch", "ready", "starting"]


@pytest.mark.parametrize("state", ["intended", "starting", "ready", "ending"])
def test_what_has_ended_is_over_in_every_state(state):
    launch = Launch(id="a", offer=OFFER, asked=0.0, state=state)
    assert decide(launch, replace(launch, state="ended"), Memory(), Patience(), 1.0) == "gone"


def test_the_cheapest_offer_that_fits_is_picked():
    offers = [replace(OFFER, zone=zone, price=price) for zone, price in (("a", 2.0), ("b", 1.0), ("c", 3.0))]
    assert pick(offers, {"gpu": "A10G"}).zone == "b"
    assert pick(offers, {"zone": "c"}).price == 3.0
    with pytest.raises(NotFound, match="nothing is offered with gpu H100; argosy offers"):
        pick(offers, {"gpu": "H100"})
    with pytest.raises(NotFound, match="with zone c for 2 "):
        pick(offers, {"zone": "c"}, 2.0)


def test_launches_are_read_as_they_were_written(scene):
    it = scene()
    launch = it.launcher.request(OFFER)
    assert msgspec.to_builtins(it.launches.live("cloud")[0]) == msgspec.to_builtins(launch)
    assert it.launches.live("moon") == []
    it.rounds(20)
    ready = it.stands(launch)
    assert it.launches.between(0.0, 900.0) == []
    assert it.launches.between(0.0, 1100.0) == [ready]


@pytest.mark.parametrize("skew", [-7200.0, -30.0, 0.0, 30.0, 7200.0])
def test_a_clock_that_is_off_makes_nothing_cheaper_or_dearer(scene, skew):
    it = scene()
    it.cloud._clock = lambda: it.now + skew
    launch = it.launcher.request(OFFER)
    it.rounds(60)
    ready = it.stands(launch)
    assert launch.asked <= ready.started <= ready.ready <= it.now
    it.launcher.release(launch.id)
    it.rounds(3)
    ended = it.stands(launch)
    assert ended.ended <= it.now
    assert abs(ended.ended - ended.started - 600.0) <= 45.0


async def test_a_provider_that_hangs_keeps_no_other_waiting(scene, monkeypatch):
    it, hangs = scene(), threading.Event()
    stuck = Replay("stuck", [OFFER], clock=it.clock)
    monkeypatch.setattr(stuck, "list", lambda: hangs.wait(60) and [])
    it.launcher.providers = {"stuck": stuck, "cloud": it.cloud}
    running = asyncio.create_task(it.launcher.run())
    try:
        launch = it.launcher.request(OFFER)
        it.launcher.wake("cloud")
        async with asyncio.timeout(60):
            while it.stands(launch).state == "intended":
                it.launcher.wake("cloud")
                await asyncio.sleep(0.01)
    finally:
        hangs.set()
        running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
