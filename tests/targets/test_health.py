"""What probes mean: folded over time by a pure function, asked over real sockets."""

import asyncio
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from argosy.spec.address import Address
from argosy.targets.health import Answer, Health, Probe, ask, update
from tests.ports import free


def folded(answers: list[tuple[float, Answer, Answer]], hang_timeout: float = 60.0) -> Health:
    state = Health(born=0.0)
    for now, live, ready in answers:
        state = update(Probe(now=now, live=live, ready=ready, hang_timeout=hang_timeout), state)
    return state


def test_it_becomes_ready_and_may_cease_to_be():
    state = folded([(1, "refused", "refused"), (2, "yes", "no"), (3, "yes", "yes")])
    assert (state.verdict, state.ready_since) == ("ready", 3)
    assert folded([(3, "yes", "yes"), (4, "yes", "no")]).verdict == "unready"


def test_a_replica_that_calls_itself_dead_is_hung_when_it_keeps_saying_so():
    row: list[tuple[float, Answer, Answer]] = [(0, "yes", "yes"), (1, "no", "no"), (2, "no", "no")]
    assert folded(row).verdict == "ready"
    assert folded([*row, (3, "no", "no")]).verdict == "hung"
    assert folded([*row, (2.5, "yes", "yes"), (3, "no", "no")]).verdict == "ready"


def test_silence_is_borne_as_long_as_an_engine_call_may_take():
    row: list[tuple[float, Answer, Answer]] = [(0, "yes", "yes"), *((n, "silent", "silent") for n in range(2, 30, 2))]
    assert folded(row, hang_timeout=60).verdict == "ready"
    assert folded(row, hang_timeout=20).verdict == "hung"


def test_a_socket_that_nobody_answers_any_more_is_given_time_to_end():
    row: list[tuple[float, Answer, Answer]] = [(0, "yes", "yes"), *((n, "refused", "refused") for n in range(1, 10))]
    assert folded(row).verdict == "ready"
    assert folded([*row, (11.5, "refused", "refused")]).verdict == "hung"


def test_one_that_has_not_begun_to_listen_only_starts():
    assert folded([(n, "refused", "refused") for n in range(0, 5000, 10)]).verdict == "starting"
    assert folded([(n, "yes", "no") for n in range(0, 5000, 10)]).verdict == "starting"


ANSWERS = st.sampled_from(["yes", "no", "silent", "refused"])


@given(st.lists(st.tuples(st.floats(0.01, 5), ANSWERS, ANSWERS), max_size=40))
def test_a_live_answer_always_clears_the_suspicion(history: list[tuple[float, Answer, Answer]]):
    state, now = Health(born=0.0), 0.0
    for dt, live, ready in history:
        now += dt
        before = state
        state = update(Probe(now=now, live=live, ready=ready), state)
        assert live != "yes" or state.bad == 0
        assert state.verdict != "ready" or before.verdict == "ready" or ready == "yes"
        assert (state.ready_since is None) == (state.verdict in ("starting", "unready")) or state.verdict == "hung"


@pytest.mark.parametrize("tcp", [False, True])
async def test_the_four_answers_of_an_address(tmp_path: Path, tcp: bool):
    port = free()
    path = Address(port=port) if tcp else Address(path=str(tmp_path / "s.sock"))
    assert await ask(path, "/x", 60.0) == "refused"
    gone = asyncio.Event()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        line = await reader.readline()
        if b"/slow" in line:
            await gone.wait()
        writer.write(b"HTTP/1.1 200 OK\r\n\r\n" if b"/good" in line else b"HTTP/1.1 503 No\r\n\r\n")
        writer.close()

    listening = asyncio.start_server(serve, path.host, port) if tcp else asyncio.start_unix_server(serve, path.path)
    server = await listening
    assert await ask(path, "/good", 60.0) == "yes"
    assert await ask(path, "/bad", 60.0) == "no"
    assert await ask(path, "/slow", 0.05) == "silent"
    gone.set()
    server.close()
    await server.wait_closed()
