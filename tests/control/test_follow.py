"""Endpoints that follow an alias."""

from collections.abc import Iterator

import pytest

from argosy.control.follow import follow
from argosy.control.revision import revision_of
from argosy.control.state import State
from argosy.spec.endpoint import Endpoint
from argosy.store import ledger
from argosy.store.database import Database
from argosy.store.endpoints import Declared
from argosy.store.ledger import Cause
from argosy.store.registry import Registry
from tests.store.samples import digest_of, model_lineage, model_manifest


@pytest.fixture
def registry(url: str) -> Iterator[Registry]:
    database = Database(url)
    State(database)
    registry = Registry(database)
    for n in (1, 2):
        registry.register("digits", digest_of(n), manifest=model_manifest(), lineage=model_lineage(), size=1)
    registry.set_alias("digits", "champion", 1)
    yield registry
    database.close()


def declare(state: State, registry: Registry, endpoint: Endpoint) -> Declared:
    return state.declare(endpoint, revision_of(endpoint, registry.resolve(endpoint.model)))


def test_only_those_that_follow_go_with_the_alias(registry: Registry):
    state = State(registry.database)
    declare(state, registry, Endpoint(name="goes", model="digits@champion", follow=True))
    stays = declare(state, registry, Endpoint(name="stays", model="digits@champion"))
    assert follow(state, registry) == []
    registry.set_alias("digits", "champion", 2, Cause(actor="ada", reason="fewer errors"))
    assert follow(state, registry) == ["goes"]
    assert follow(state, registry) == []
    goes = state.endpoint("goes")
    assert goes is not None
    assert (goes.generation, state.revisions()[goes.revision].version) == (2, "2")
    assert state.endpoint("stays") == stays
    with registry.database.read() as connection:
        told = ledger.entries(connection, "goes")[-1]
    assert (told.actor, told.reason) == ("ada", "digits@champion moved to digits:2: fewer errors")
    assert told.body["version"] == "digits:2"


def test_an_alias_that_is_gone_leaves_the_endpoint_as_it_is(registry: Registry):
    state = State(registry.database)
    before = declare(state, registry, Endpoint(name="goes", model="digits@champion", follow=True))
    registry.remove_alias("digits", "champion")
    assert follow(state, registry) == []
    assert state.endpoint("goes") == before
