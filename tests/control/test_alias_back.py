"""What follows an alias that moves back says so, and so does the API."""

from argosy.api.models import AliasMoved
from argosy.control.follow import follow
from argosy.control.revision import revision_of
from argosy.control.state import State
from argosy.spec.endpoint import Endpoint
from argosy.spec.settings import Home, Settings
from argosy.store import ledger, open_store
from argosy.store.ledger import Cause
from tests.store.samples import digest_of, model_lineage, model_manifest


def test_an_endpoint_that_goes_back_with_its_alias_says_so(tmp_path):
    store = open_store(Home(tmp_path / "h").create(), Settings())
    state, registry = State(store.database), store.registry
    for n in (1, 2):
        registry.register("digits", digest_of(n), manifest=model_manifest(), lineage=model_lineage(), size=1)
    registry.set_alias("digits", "champion", 2)
    endpoint = Endpoint(name="goes", model="digits@champion", follow=True)
    state.declare(endpoint, revision_of(endpoint, registry.resolve("digits@champion")))
    moved = registry.set_alias("digits", "champion", 1, Cause(actor="ada", reason="it failed"))
    assert follow(state, registry) == ["goes"]
    with store.database.read() as connection:
        told = ledger.entries(connection, "goes")[-1]
    assert (told.actor, told.reason) == ("ada", "digits@champion moved back to digits:1: it failed")
    assert (moved.number, moved.before, moved.back) == (1, 2, True)
    assert {"before", "back", "endpoints"} <= set(AliasMoved.__struct_fields__)
    store.close()
