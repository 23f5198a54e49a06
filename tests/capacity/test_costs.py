"""What each second of replicas was spent on."""

import math
import random

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from argosy.capacity.costs import (
    HOUR,
    Costs,
    MachineHour,
    Mark,
    PaidRun,
    PricedSpan,
    Share,
    WorkTally,
    attended,
    closed,
    credit,
    disagreement,
    hours,
    step,
)
from argosy.serving.counts import Work
from argosy.spec.offer import Launch, Offer
from argosy.spec.supply import ProviderPromise
from argosy.store.costs import merged

START = 1_767_225_600


def run(id="a/1", *, at=START, engine=None, **more):
    fields = {"endpoint": "digits", "version": "digits:1", "price": 3600.0, "ready": True, **more}
    work = None if engine is None else Work(engine=engine, answered=int(engine * 10))
    return PaidRun(id=id, started=at, work=work, **fields)


def booked(rows):
    return {(row.hour - START, row.use, row.key): round(row.cost, 6) for row in merged(rows) if abs(row.cost) > 1e-9}


def walk(*steps, state=None):
    """Steps of (now, runs, shares): all rows, and the last state."""
    rows, state = [], state or Costs(at=START)
    for now, runs, shares in steps:
        more, state = step(state, runs, shares, START + now, "eu")
        rows += more
    return rows, state


def test_slots_that_were_lent_are_the_job_s_and_what_lends_may_begin_to_count_anew():
    def at(engine, **lent):
        found = run(engine=engine, lent=lent)
        return msgspec.structs.replace(found, work=Work(engine=engine, slots=4))

    steps = (
        (0, [at(0.0)], {}),
        (10, [at(20.0, night=12.0)], {}),
        (20, [at(40.0, night=4.0, day=8.0)], {}),
        (30, [at(80.0, night=84.0, day=8.0)], {}),
        (40, [run(ended=START + 40.0)], {}),
    )
    rows, state = walk(*steps)
    of = {
        name: booked([row for row in rows if row.endpoint == name]) for name in ("digits", "batch/night", "batch/day")
    }
    assert of["batch/night"] == {(0, "batch", ""): 3.0 + 1.0 + 10.0}
    assert of["batch/day"] == {(0, "batch", ""): 2.0}
    assert of["digits"] == {(0, "requests", ""): 2.0 + 2.0, (0, "idle", ""): 40.0 - 16.0 - 4.0}
    assert state.tallies == {START: WorkTally(4.0, 10.0)}


def test_a_replica_starts_works_waits_and_ends():
    rows, state = walk(
        (5, [run(ready=False)], {}),
        (10, [run(engine=1.0)], {}),
        (20, [run(engine=5.0)], {("digits", "digits:1"): {"k": Share(weight=1, requests=40, tokens=7)}}),
        (30, [run(ended=START + 26.0)], {}),
        (40, [], {}),
    )
    assert booked(rows) == {(0, "startup", ""): 9.0, (0, "requests", "k"): 5.0, (0, "idle", ""): 12.0}
    assert sum((row.requests, row.tokens) == (40, 7) for row in rows) == 1
    assert {row.region for row in rows} == {"eu"}
    assert state.tallies == {START: WorkTally(5.0, 6.0)}
    assert state.spans == {"a/1": (PricedSpan(START, START + 26.0, 3600.0),)}
    assert not state.marks


def test_work_is_given_to_keys_by_weight_when_requests_have_ended():
    shares = {("digits", "digits:1"): {"k": Share(weight=3, requests=1), "": Share(weight=1, requests=2)}}
    rows, state = walk((10, [run(engine=4.0)], {}))
    assert booked(rows)[0, "requests", ""] == 4.0
    more, state = walk((20, [run(engine=8.0)], shares), (30, [run(engine=9.0)], {}), state=state)
    found = booked([*rows, *more])
    assert (found[0, "requests", "k"], found[0, "requests", ""]) == (6.0, 3.0), "the last second is nobody's yet"


def test_an_interval_over_hours_is_divided_and_hours_close_with_price_times_time():
    rows, state = walk((3590, [run(engine=10.0)], {}))
    more, state = walk((3610, [run(engine=20.0)], {}), state=state)
    assert closed(state)[0] == {}, "one that started in this hour may not have been seen yet"
    late, state = walk((3630, [run(engine=20.0), run("b/1", at=START + 3590.0, engine=0.0)], {}), state=state)
    over, state = closed(state)
    more += late
    assert over == {START: (pytest.approx(3610.0), WorkTally(15.0, 0.0))}
    assert sum(row.cost for row in [*rows, *more] if row.hour == START) == pytest.approx(3610.0)
    assert state.tallies == {START + HOUR: WorkTally(5.0, 0.0)}
    assert state.unkeyed == {"digits digits:1": {START + HOUR: (5.0, 5.0)}}


def test_a_process_that_does_not_answer_is_waited_for():
    rows, state = walk((10, [run(engine=2.0)], {}), (20, [run()], {}), (30, [run(engine=12.0)], {}))
    assert booked(rows) == {(0, "requests", ""): 12.0, (0, "startup", ""): 8.0, (0, "idle", ""): 10.0}
    _, state = walk((100, [run()], {}), state=state)
    assert state.tallies[START].unread == 70.0


def test_a_candidate_pays_for_its_test_apart_from_what_it_answers():
    copies = run(engine=5.0, testing=True, copies=True)
    rows, state = walk((5, [run(ready=False, testing=True)], {}), (10, [copies], {}))
    rows += walk((20, [run(engine=9.0, testing=True)], {}), state=state)[0]
    assert booked(rows) == {(0, "candidate", ""): 16.0, (0, "requests", ""): 4.0}


def test_what_began_before_there_was_a_price_is_paid_from_then_on():
    rows, _ = walk((10, [run(at=START - 1000, engine=3.0)], {}), state=Costs(at=START + 4.0))
    assert sum(row.seconds for row in rows) == 6.0


def test_another_price_begins_another_span():
    rows, state = walk(
        (10, [run(engine=0.0)], {}),
        (20, [run(engine=0.0, price=7200.0)], {}),
        (30, [run(engine=0.0, price=7200.0)], {}),
    )
    assert sum(row.cost for row in rows) == 40.0
    assert state.spans["a/1"] == (PricedSpan(START, START + 20.0, 3600.0), PricedSpan(START + 20.0, None, 7200.0))


def test_slots_are_parts_of_an_engine_and_a_loop_counts_where_it_is_the_narrower_one():
    first, state = walk((10, [run(engine=0.0)], {}))
    loop = run()
    slots = Work(engine=10.0, slots=4, loop=1.0)
    rows, _ = walk((20, [msg(loop, slots)], {}), state=state)
    assert sum(row.seconds for row in rows if row.use == "requests") == 2.5
    rows, _ = walk((20, [msg(loop, Work(loop=4.0))], {}), state=state)
    assert not any(row.use == "requests" for row in rows)
    rows, _ = walk((20, [msg(loop, Work(loop=6.0, engine=1.0))], {}), state=state)
    assert sum(row.seconds for row in rows if row.use == "requests") == 6.0
    assert first


def msg(found, work):
    return msgspec.structs.replace(found, work=work)


@given(st.floats(0, 1), st.floats(0, 1), st.floats(0, 3))
def test_a_credit_is_never_positive_nor_more_than_was_paid(there, available, back):
    machine = MachineHour(provider="p", instance="m", cost=2.0, seconds=3600.0, there=3600.0 * there)
    given_back = credit(START, machine, ProviderPromise(available=available, back=back), "eu")
    assert -2.0 <= given_back.cost <= 0.0
    assert (given_back.use, given_back.version, given_back.region) == ("credit", "m", "eu")
    assert given_back.cost > -1e-9 or (there < available and back > 0)


def test_a_machine_is_there_from_when_it_was_ready_as_its_provider_says():
    offer = Offer(provider="p", region="eu", instance="m", price=1.0)
    first = Launch(id="a", offer=offer, asked=START, state="starting", price=7.2, started=START)
    assert attended({}, [first], START, START + 60.0) == {}
    ready = msgspec.structs.replace(first, state="ready", ready=START + 100.0)
    found = attended({}, [ready], START + 60.0, START + 3500.0)
    found = attended(found, [msgspec.structs.replace(ready, state="starting")], START + 3500.0, START + 3700.0)
    found = attended(found, [msgspec.structs.replace(ready, state="ending")], START + 3700.0, START + 3800.0)
    about = MachineHour(provider="p", instance="m")
    assert found["a"] == {
        START: msgspec.structs.replace(about, cost=pytest.approx(7.0), seconds=3500.0, there=3400.0),
        START + HOUR: msgspec.structs.replace(about, cost=pytest.approx(0.4), seconds=200.0, there=100.0),
    }


def test_whole_uses_take_all():
    rows, _ = walk((10, [run(whole="batch", endpoint="batch/score")], {}))
    assert booked(rows) == {(0, "batch", ""): 10.0}


@pytest.mark.parametrize("seed", range(5))
def test_rows_are_price_times_time_whatever_happens(seed):
    """Random starts, ends, silences, prices, hours: each second is paid once, and no row is lost."""
    chance, state, rows, alive, now = random.Random(seed), Costs(at=START), [], {}, 0.0
    billed: dict[int, float] = {}
    for number in range(400):
        now += chance.uniform(1, 60)
        if chance.random() < 0.3:
            alive[f"r{number}"] = (now - chance.uniform(0, 0.9), chance.choice([1.0, 2.5]))
        ended = [name for name in alive if chance.random() < 0.1]
        runs = [
            run(
                name,
                at=START + began,
                price=price,
                ready=chance.random() < 0.8,
                engine=chance.choice([None, now / 3]),
                ended=START + now if name in ended else None,
            )
            for name, (began, price) in alive.items()
        ]
        for name in ended:
            began, price = alive.pop(name)
            for hour, seconds in hours(START + began, START + now):
                billed[hour] = billed.get(hour, 0.0) + price * seconds / HOUR
        shares = (
            {("digits", "digits:1"): {chance.choice("ab"): Share(weight=1, requests=1)}}
            if chance.random() < 0.5
            else {}
        )
        more, state = step(state, runs, shares, START + now)
        rows += more
    last = [run(name, at=START + began, price=price, ended=START + now) for name, (began, price) in alive.items()]
    more, state = step(state, last, {}, START + now)
    rows += more
    for began, price in alive.values():
        for hour, seconds in hours(START + began, START + now):
            billed[hour] = billed.get(hour, 0.0) + price * seconds / HOUR
    found: dict[int, float] = {}
    for row in rows:
        found[row.hour] = found.get(row.hour, 0.0) + row.cost
    assert {hour: round(each, 9) for hour, each in found.items() if each} == {
        hour: round(each, 9) for hour, each in billed.items()
    }
    over, _ = closed(state)
    assert all(math.isclose(by, billed[hour], abs_tol=1e-9) for hour, (by, _) in over.items())
    assert len(over) > 2


def test_what_does_not_agree_is_said():
    assert not disagreement(100.05, 100.0, 50.0, 50.9)
    assert "add up to 101" in disagreement(101.0, 100.0, 0.0, 0.0)
    assert "90.0 s are booked" in disagreement(0.0, 0.0, 90.0, 100.0)


def test_a_mark_is_plain_data():
    _, state = walk((10, [run(engine=1.0)], {}))
    assert msgspec.msgpack.decode(msgspec.msgpack.encode(state), type=Costs) == state
    assert isinstance(state.marks["a/1"], Mark)
