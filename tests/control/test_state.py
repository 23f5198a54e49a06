"""The controller's tables, on both databases."""

import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from argosy.control.decide import Serving
from argosy.control.state import State
from argosy.spec.endpoint import Endpoint, Runtime
from argosy.spec.errors import NotFound, Unavailable
from argosy.store.database import Database
from argosy.targets.base import Revision
from tests.store.conftest import postgres, url  # noqa: F401 - fixtures


@pytest.fixture
def state(url: str) -> Iterator[State]:  # noqa: F811 - the fixture above
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
    state.serve("digits", Serving(active="a", held=1))
    second = state.declare(Endpoint(name="digits", model="digits:2", replicas=3), revision("b", threads=2))
    assert second.generation == 2
    assert second.serving == Serving(active="a", held=1)
    assert second.created == first.created
    assert state.endpoints() == [second]
    assert state.revisions() == {"a": revision("a"), "b": revision("b", threads=2)}


def test_a_deleted_endpoint_is_gone_with_its_revisions(state: State):
    state.declare(Endpoint(name="digits", model="digits:1"), revision("a"))
    state.delete("digits")
    assert state.endpoints() == []
    assert state.revisions() == {}
    with pytest.raises(NotFound):
        state.delete("digits")


def test_writers_at_once_lose_no_declaration(state: State):
    def write(n: int) -> None:
        for _ in range(10):
            state.declare(Endpoint(name=f"e{n % 2}", model="digits:1"), revision(f"r{n}"))

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
