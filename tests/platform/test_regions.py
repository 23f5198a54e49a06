"""Two platforms, of which one holds the plan."""

import pytest

from argosy.spec.settings import Settings
from argosy.store import open_store
from tests.platform.packages import push
from tests.platform.regions import Regions, regions, until


@pytest.fixture
def both(tmp_path_factory: pytest.TempPathFactory):
    folder = tmp_path_factory.mktemp("r")
    with regions(folder) as found:
        store = open_store(found.homes["east"], Settings())
        push(store, folder / "p1", 3.0)
        push(store, folder / "p2", 5.0)
        store.close()
        yield found


@pytest.mark.slow
def test_an_endpoint_runs_in_both_regions_with_one_key_and_goes_on_without_its_holder(both: Regions):
    both.add()
    declared = {"model": "digits:1", "regions": ["east", "west"]}
    key = both.up["east"].call("PUT", "/v1/endpoints/digits", declared, wait=60)["key"]
    until(lambda: both.serving("west", "digits:1"))
    assert [both.answers(each, key) for each in ("east", "west")] == [3.0, 3.0]
    refused = both.up["west"].ask("PUT", "/v1/endpoints/digits", json={"model": "digits:1", "replicas": 2})
    assert (refused.status_code, "holds the plan" in refused.text) == (409, True), refused.text
    both.up["east"].call("PUT", "/v1/endpoints/digits", {**declared, "model": "digits:2"}, wait=60)
    until(lambda: both.serving("west", "digits:2"))
    assert both.answers("west", key) == 5.0
    both.up["east"].kill()
    assert both.answers("west", key) == 5.0
