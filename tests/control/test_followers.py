"""Gateways elsewhere as one: what they are told, what is waited for, and what all of them have counted."""

import asyncio
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from argosy.control import followers
from argosy.control.followers import Followers, Reading, Sums
from argosy.control.leases import HELD, LEASE, GatewayReport, GatewayTraffic
from argosy.gateway.model import EndpointRoute
from argosy.gateway.subscriptions import Refused
from argosy.gateway.traffic import Traffic
from argosy.spec.errors import Conflict, Unavailable

KEY = ("digits", "r1")
ROUTE = EndpointRoute(endpoint="digits")


def report(number: int = 1, run: str = "r", **more: Any) -> GatewayReport:
    return GatewayReport(run=run, number=number, **more)


def reading(number: int, completed: int, envoy: str = "e", run: str = "r") -> Reading:
    return Reading(run, number, envoy, {KEY: Traffic(completed=completed, active=1)})


@pytest.fixture(autouse=True)
def patient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(followers, "PATIENCE", 60.0)


async def following(*names: str) -> Followers:
    """A controller of term 2, at which these gateways have applied the first snapshot."""
    made = Followers(None, 2)
    made.now = 100.0
    await made.apply([])
    for name in names:
        await made.hear(name, report(has=(2, 1), applied=(2, 1)))
    return made


async def test_a_gateway_is_answered_what_it_has_not():
    made = await following()
    assert await Followers(None, 2).hear("a", report()) is None
    await made.apply([ROUTE])
    found = await made.hear("a", report(2))
    assert found is not None
    assert (found.version, found.endpoints) == ((2, 2), (ROUTE,))
    assert await made.hear("a", report(3, has=(2, 2))) is None


async def test_a_change_answers_who_waits_and_the_confirmation_ends_the_apply():
    made = await following("a", "b")
    held = [asyncio.create_task(made.hear(each, report(2, has=(2, 1), applied=(2, 1), hold=HELD))) for each in "ab"]
    await asyncio.sleep(0)
    applied = asyncio.create_task(made.apply([ROUTE]))
    assert [each.number for each in await asyncio.gather(*held) if each] == [2, 2]
    await made.hear("a", report(3, has=(2, 2), applied=(2, 2)))
    assert not applied.done()
    assert not made.settled
    await made.hear("b", report(3, has=(2, 2), applied=(2, 2)))
    assert await applied
    assert made.settled


async def test_who_does_not_confirm_is_named_and_released_when_its_lease_is_over(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(followers, "PATIENCE", 0.01)
    made = await following("a", "b")
    with pytest.raises(Unavailable, match="by gateway 'a', gateway 'b'"):
        await made.apply([ROUTE])
    await made.hear("a", report(2, has=(2, 2), applied=(2, 2)))
    assert not made.settled
    made.now += LEASE
    await made.hear("a", report(3, has=(2, 2), applied=(2, 2)))
    assert made.settled
    assert not await made.apply([ROUTE])


async def test_a_refusal_is_told_at_once_in_the_words_of_envoy():
    made = await following("a", "b")
    await made.hear("a", report(2, has=(2, 1), applied=(2, 1)))
    applied = asyncio.create_task(made.apply([ROUTE]))
    await asyncio.sleep(0)
    await made.hear("b", report(2, has=(2, 2), applied=(2, 1), refused="no such cluster"))
    with pytest.raises(Refused, match="gateway 'b': no such cluster"):
        await applied


async def test_what_was_applied_of_another_controller_counts_for_nothing():
    made = await following()
    await made.hear("a", report(has=(1, 7), applied=(1, 7)))
    assert not made.settled


async def test_a_gateway_that_knows_more_keeps_what_it_has(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(followers, "PATIENCE", 0.01)
    made, blind = await following(), True
    made.withheld = lambda: blind
    new, old = report(), report(has=(1, 9), applied=(1, 9))
    assert await made.hear("old", old) is None
    with pytest.raises(Unavailable, match="gateway 'old'; they keep what they have until it is known what runs"):
        await made.apply([ROUTE])
    assert await made.hear("new", new) == made.snapshot
    blind = False
    assert await made.hear("old", old) == made.snapshot


async def test_a_controller_that_hears_of_a_later_one_releases_nothing():
    made = await following("a")
    with pytest.raises(Unavailable, match="follows a later controller"):
        await made.hear("b", report(has=(3, 1)))
    assert not made.settled
    with pytest.raises(Unavailable, match="leads no more"):
        await made.apply([])


async def test_requests_that_wait_at_several_gateways_are_added():
    made, told = await following("a", "b"), []
    made.demanded = told.append
    await made.hear("a", report(2, waiting={"digits": 2}))
    await made.hear("b", report(2, waiting={"digits": 3, "faces": 1}))
    assert told[-1] == {"digits": 5, "faces": 1}


async def test_another_gateway_of_the_same_name_ends_the_first():
    made = await following("a")
    await made.hear("a", report(run="s"))
    with pytest.raises(Conflict, match="--name"):
        await made.hear("a", report(2))
    await made.left("a", "r")
    assert [*made.leases.gateways] == ["a"]


async def test_counters_are_those_of_all():
    made = await following("a", "b")
    traffic = (GatewayTraffic(*KEY, Traffic(completed=4, active=2, hosts=3)),)
    for name in "ab":
        await made.hear(name, report(5, envoy="e", traffic=()))
        await made.hear(name, report(6, envoy="e", traffic=traffic))
    assert await made.stats() == {KEY: Traffic(completed=8, active=4, hosts=3)}


def test_a_first_reading_is_where_a_gateway_begins_and_one_that_restarts_begins_at_zero():
    sums = Sums()
    sums.add("a", reading(1, 100))
    sums.add("a", reading(2, 110))
    sums.add("a", reading(3, 7, envoy="f"))
    assert sums.all[KEY].completed == 17


def test_an_adopted_envoy_is_not_counted_again_and_a_late_reading_not_at_all():
    sums = Sums()
    sums.add("a", reading(1, 0))
    sums.add("a", reading(5, 10))
    sums.add("a", reading(4, 8))
    sums.add("a", reading(1, 12, run="s"))
    assert sums.all[KEY].completed == 12


@given(
    st.lists(st.tuples(st.sampled_from("ab"), st.sampled_from(["count", "read", "late", "envoy", "run"])), max_size=60)
)
def test_sums_never_fall_and_count_nothing_twice(steps: list[tuple[str, str]]):
    sums, true = Sums(), 0
    envoys = dict.fromkeys("ab", 0)
    runs, counted, numbers = dict.fromkeys("ab", 0), dict.fromkeys("ab", 0), dict.fromkeys("ab", 0)
    sent: dict[str, list[Reading]] = {"a": [], "b": []}
    last = 0
    for name in "ab":
        sums.add(name, Reading("0", 0))
    for name, kind in steps:
        if kind == "count":
            counted[name] += 1
            true += 1
        elif kind == "read":
            numbers[name] += 1
            made = reading(numbers[name], counted[name], str(envoys[name]), str(runs[name]))
            sent[name].append(made)
            sums.add(name, made)
        elif kind == "late" and sent[name] and sent[name][-1].run == str(runs[name]):
            sums.add(name, sent[name][0] if sent[name][0].run == str(runs[name]) else sent[name][-1])
        elif kind == "envoy":
            envoys[name] += 1
            counted[name] = 0
        elif kind == "run":
            runs[name] += 1
            numbers[name] = 0
        total = sums.all.get(KEY, Traffic()).completed
        assert last <= total <= true
        last = total
