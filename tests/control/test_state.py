"""The controller's tables, on both databases."""

import contextlib
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from argosy.control.state import State
from argosy.spec.endpoint import Endpoint, Runtime
from argosy.spec.errors import Conflict, NotFound, Unavailable
from argosy.spec.revision import Revision
from argosy.store import audit, ledger
from argosy.store.database import Database
from argosy.store.endpoints import Serving
from argosy.store.ledger import Cause
from tests.control.served import serve


@pytest.fixture
def state(url: str) -> Iterator[State]:
    database = Database(url)
    yield State(database)
    database.close()


def revision(id: str, **runtime: int) -> Revision:
    return Revision(
        id=id, endpoint="digits", model="digits", version="1", digest="sha256:0", runtime=Runtime(**runtime)
    )


def test_a_declaration_keeps_what_serves_and_counts_up(state: State):
    first = state.declare(Endpoint(name="digits", model="digits:1"), revision("a"))
    assert (first.generation, first.serving) == (1, Serving())
    serve(state, "digits", Serving(active="a", held=1))
    second = state.declare(Endpoint(name="digits", model="digits:2", replicas=3), revision("b", threads=2))
    assert second.generation == 2
    assert second.serving == Serving(active="a", held=1)
    assert second.created == first.created
    assert state.endpoints() == [second]
    assert state.revisions() == {"a": revision("a"), "b": revision("b", threads=2)}


def test_the_same_declaration_again_changes_nothing(state: State):
    first = state.declare(Endpoint(name="digits", model="digits:1"), revision("a"))
    assert state.declare(Endpoint(name="digits", model="digits:1"), revision("a")) == first
    with state.database.read() as connection:
        assert [each.event for each in ledger.entries(connection, "digits")] == ["declare"]


def test_the_second_writer_is_told_what_is_different(state: State):
    state.declare(Endpoint(name="digits", model="digits:1"), revision("a"), expected=0)
    mine = Endpoint(name="digits", model="digits:1", replicas=5, runtime=Runtime(threads=2))
    with pytest.raises(Conflict, match="generation 1, you saw none"):
        state.declare(mine, revision("b"), expected=0)
    state.declare(Endpoint(name="digits", model="digits:1", replicas=2), revision("a"), expected=1)
    with pytest.raises(Conflict, match=r"replicas: 2 → 5; runtime\.threads: 0 → 2"):
        state.declare(mine, revision("b"), expected=1)
    with pytest.raises(Conflict):
        state.delete("digits", expected=1)
    assert state.declare(mine, revision("b"), expected=2).generation == 3
    state.delete("digits", expected=3)
    with pytest.raises(Conflict, match="deleted meanwhile"):
        state.declare(mine, revision("b"), expected=3)
    assert state.endpoints() == []
    assert state.declare(mine, revision("b"), expected=0).generation == 4


def test_of_writers_that_saw_the_same_only_one_gets_through(state: State):
    state.declare(Endpoint(name="digits", model="digits:1"), revision("a"))
    through: list[int] = []

    def write(n: int) -> None:
        with contextlib.suppress(Conflict):
            state.declare(Endpoint(name="digits", model="digits:1", replicas=n), revision("a"), expected=1)
            through.append(n)

    writers = [threading.Thread(target=write, args=(n,)) for n in range(2, 8)]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join()
    assert [each.endpoint.replicas for each in state.endpoints()] == through
    assert state.endpoints()[0].generation == 2


def test_every_change_is_in_the_ledger_with_its_cause(state: State):
    state.declare(Endpoint(name="digits", model="digits:1"), revision("a"), cause=Cause(actor="ada", reason="new"))
    for _ in range(2):
        serve(state, "digits", Serving(active="a", held=1))
    serve(state, "digits", Serving(active="a", held=2))
    state.declare(Endpoint(name="digits", model="digits:1", replicas=2), revision("a"), cause=Cause(actor="bob"))
    state.delete("digits", cause=Cause(actor="eve", reason="old"))
    with state.database.read() as connection:
        found = ledger.entries(connection, "digits")
    assert [each.event for each in found] == ["declare", "serve", "declare", "delete"]
    assert [each.actor for each in found] == ["ada", "argosy", "bob", "eve"]
    assert found[1].body["traffic"] == [
        {"revision": "a", "version": "digits:1", "digest": "sha256:0", "weight": 100, "declared": 1}
    ]
    assert found[2].body["changes"] == [{"field": "replicas", "old": 1, "new": 2}]
    assert audit.verify(state.database).broken is None


def test_a_deleted_endpoint_is_gone_with_its_revisions(state: State):
    state.declare(Endpoint(name="digits", model="digits:1"), revision("a"))
    state.delete("digits")
    assert state.endpoints() == []
    assert state.revisions() == {}
    with pytest.raises(NotFound):
        state.delete("digits")


def test_writers_at_once_lose_no_declaration(state: State):
    def write(n: int) -> None:
        for k in range(10):
            state.declare(Endpoint(name=f"e{n % 2}", model="digits:1", retries=k), revision(f"r{n}"))

    writers = [threading.Thread(target=write, args=(n,)) for n in range(4)]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join()
    assert [each.generation for each in state.endpoints()] == [20, 20]


def test_a_database_that_others_hold_is_unavailable_and_then_works(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("argosy.store.database.BUSY_TIMEOUT", 0.1)
    state = State(Database(f"sqlite:///{tmp_path}/a.db"))
    other = Database(f"sqlite:///{tmp_path}/a.db")
    with other.begin(), pytest.raises(Unavailable, match="locked"):
        state.declare(Endpoint(name="digits", model="digits:1"), revision("a"))
    assert state.declare(Endpoint(name="digits", model="digits:1"), revision("a")).generation == 1
    state.database.close()
    other.close()
