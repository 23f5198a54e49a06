"""Who may wait for a replica, and for whom it is over."""

import asyncio
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from argosy.activator.queue import ActivatedEndpoint, Destination, Queue, Refusal, Waiter, decide
from argosy.spec.address import Address
from argosy.spec.scaling import ActivatorQueue

READY = (Destination("r", Address(path="/r.sock")),)


def endpoint(size: int = 10, deadline: float = 60.0, ready_in: float = 0.0, replicas: int = 0) -> ActivatedEndpoint:
    return ActivatedEndpoint(
        queue=ActivatorQueue(size=size, deadline=deadline), ready=READY * replicas, ready_in=ready_in
    )


def test_requests_wait_until_a_slot_is_free_in_their_order() -> None:
    assert decide([0, 0, 0], 0, endpoint()) == [False, False, False]
    assert decide([5, 5, 5], 2, endpoint()) == [True, True, False]
    assert decide([6], 2, endpoint()) == [True]


def test_a_full_queue_refuses_the_latest_and_says_when_to_come_back() -> None:
    assert decide([0, 0], 0, endpoint(size=1, ready_in=41.2)) == [
        False,
        Refusal("1 requests wait already for a replica", 42),
    ]


def test_who_waited_too_long_is_refused() -> None:
    assert decide([8, 0], 0, endpoint(deadline=9)) == [False, False]
    assert decide([9, 1], 0, endpoint(deadline=9)) == [Refusal("waited 9 s for a replica to start", 1), False]


@given(st.lists(st.floats(0, 20), max_size=30), st.integers(0, 8), st.integers(0, 8))
def test_as_many_are_served_and_wait_as_may(waited: list[float], free: int, size: int) -> None:
    found = decide(waited, free, endpoint(size=size, deadline=12))
    assert len(found) == len(waited)
    assert found.count(True) == min(free, len(waited))
    assert found.count(False) <= size
    assert all(
        isinstance(each, Refusal) or seconds < 12 for each, seconds in zip(found[free:], waited[free:], strict=True)
    )


@pytest.mark.parametrize("jump", [1e9, -1e9, math.nan, math.inf])
async def test_a_clock_that_jumps_refuses_nobody(jump: float) -> None:
    queue = Queue()
    queue.waiters.append(waiter := Waiter())
    for now in (0.0, jump, 100.0):
        queue.tick(endpoint(), now)
    assert not waiter.outcome.done()
    for step in range(14):
        queue.tick(endpoint(), 100.0 + step * 5.0)
    assert isinstance(waiter.outcome.result(), Refusal)


async def test_a_request_that_comes_after_a_pause_has_not_waited() -> None:
    queue = Queue()
    queue.tick(endpoint(), 0.0)
    queue.waiters.append(waiter := Waiter())
    queue.tick(endpoint(deadline=5), 9.0)
    assert not waiter.outcome.done()


async def test_replicas_are_given_requests_in_turn_and_no_more_than_they_may_have() -> None:
    queue = Queue()
    queue.waiters = [Waiter() for _ in range(200)]
    queue.serving = 28
    queue.tick(endpoint(size=500, replicas=2), 0.0)
    assert sum(each.outcome.done() for each in queue.waiters) == 100
    assert queue.waiters[0].outcome.result() == READY[0]
    await asyncio.sleep(0)


def test_openai_requests_go_to_the_engine_where_there_is_one():
    http, engine = Address(path="/r.sock"), Address(path="/e.sock")
    generator, encoder = Destination("r", http, engine=engine), Destination("r", http)
    chat, infer = b"POST /v1/chat/completions HTTP/1.1\r\n", b"POST /v2/models/m/infer HTTP/1.1\r\n"
    assert [generator.of(head) for head in (chat, infer)] == [engine, http]
    assert [encoder.of(head) for head in (chat, infer)] == [http, http]
