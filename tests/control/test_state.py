from pathlib import Path

import pytest

from argosy.control.decide import Serving
from argosy.control.state import State
from argosy.spec.endpoint import Endpoint, Runtime
from argosy.spec.errors import NotFound
from argosy.store.database import Database
from argosy.targets.base import Revision


@pytest.fixture
def state(tmp_path: Path):
    database = Database(f"sqlite:///{tmp_path}/a.db")
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
