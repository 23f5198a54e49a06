"""A replica that answers as it should while it is looked at, and otherwise later: canaries find it in its traffic."""

from collections.abc import Callable

import numpy as np
import pytest

from argosy.spec.settings import Home
from argosy.store.store import Store
from tests.platform.packages import push_class
from tests.platform.up import Up, until

X = np.float32([[1, 2], [3, 4], [5, 6]])
TURNS = """
class Model:
    def load(self, path):
        self.calls = 0

    def predict(self, inputs):
        self.calls += 1
        return {'label': inputs['x'][:, 0].astype('i8') + (self.calls > 25)}
"""


@pytest.mark.slow
def test_a_replica_that_turns_is_an_incident(home: Home, store: Store, start: Callable[..., Up]):
    push_class(store, home.root / "made", TURNS, X, X[:, 0].astype("i8"), name="turns")
    home.config.write_text(home.config.read_text() + "supply: {canaries: 0.1}\n")
    platform = start().ready()
    declared = {"model": "turns:1", "untrusted": True}
    assert platform.call("PUT", "/v1/endpoints/turns", declared, wait=60)["endpoint"]["state"] == "ready"
    (found,) = until(lambda: [each for each in platform.call("GET", "/v1/alerts") if each["kind"] == "host"])
    (replica,) = platform.call("GET", "/v1/replicas")
    assert (found["endpoint"], found["subject"], found["severity"]) == ("turns", replica["id"], "page")
    disagreed, _, all_, *rest = found["text"].split()
    assert rest[:2] == ["canaries", "disagreed"]
    assert int(all_) > int(disagreed), "it was honest before"
    assert len(platform.call("GET", "/v1/keys")) == 1, "the key of the canaries is in no list"
