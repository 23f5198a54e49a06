"""The status of an endpoint, from what was observed."""

import pytest

from argosy.control.status import Facts, status
from argosy.spec.address import Address
from argosy.spec.endpoint import Endpoint
from argosy.spec.revision import Replica, Revision, RevisionStatus
from argosy.store.endpoints import Declared, Serving


def revision_status(ready: int, failed: str = "") -> RevisionStatus:
    one = Replica(id="d-0", endpoint="d", revision="r", phase="ready", http=Address(path="/h"), started=0.0)
    return RevisionStatus(replicas=(one,) * ready, failed=failed)


STARTING = RevisionStatus(
    replicas=tuple(
        Replica(
            id=f"d-{n}",
            endpoint="d",
            revision="new",
            phase="starting",
            http=Address(),
            started=100.0 + n,
            doing="it loads its model",
        )
        for n in range(2)
    )
)


@pytest.mark.parametrize(
    ("active", "new", "routed", "replicas", "state", "reason"),
    [
        (None, revision_status(0), "", 2, "starting", ""),
        ("new", revision_status(1), "new", 2, "starting", ""),
        ("new", revision_status(2), "", 2, "starting", ""),
        ("new", revision_status(2), "new", 2, "ready", ""),
        ("old", revision_status(1), "old", 2, "updating", ""),
        ("old", revision_status(0, "boom"), "old", 2, "failed", "m:2 does not become ready: boom; m:1 goes on serving"),
        ("new", revision_status(1, "boom"), "new", 2, "failed", "m:2 does not become ready: boom"),
        (
            "new",
            revision_status(2, "boom"),
            "new",
            2,
            "ready",
            "m:2 goes on serving, and no replica of it is started any more: boom",
        ),
        (None, revision_status(0, "boom"), "", 2, "failed", "m:2 does not become ready: boom"),
        ("new", revision_status(0), "", 0, "stopped", ""),
        (None, STARTING, "", 1, "starting", "d-0 has been starting for 42 s: it loads its model"),
        (None, RevisionStatus(pending="no node has 8 GPUs"), "", 1, "starting", "no node has 8 GPUs"),
        ("old", RevisionStatus(pending="no room"), "old", 1, "updating", "no room"),
        ("old", STARTING, "old", 1, "updating", "d-0 has been starting for 42 s: it loads its model"),
    ],
)
def test_states(active: str | None, new: RevisionStatus, routed: str, replicas: int, state: str, reason: str):
    found = status(
        Facts(
            declared=Declared(
                endpoint=Endpoint(name="d", model="m", replicas=replicas),
                revision="new",
                serving=Serving(active=active, held=1),
                generation=1,
                created="",
                updated="",
            ),
            revisions={
                id: Revision(id=id, endpoint="d", model="m", version=version, digest="sha256:0")
                for id, version in (("old", "1"), ("new", "2"))
            },
            running={"old": revision_status(1), "new": new},
            routed=frozenset([routed] if routed else []),
            wanted=replicas,
            now=142.0,
        )
    )
    assert (found.state, found.reason) == (state, reason)
    assert found.version == "m:2"
    assert found.serving == {None: "", "old": "m:1", "new": "m:2"}[active]


def test_an_endpoint_that_runs_in_other_regions_alone_says_so():
    revision = Revision(id="new", endpoint="d", model="m", version="2", digest="sha256:0")
    endpoint = Endpoint(name="d", model="m", replicas=0, regions=("west", "south"))
    declared = Declared(endpoint=endpoint, revision="new", serving=Serving(), generation=1, created="", updated="")
    found = status(Facts(declared=declared, revisions={"new": revision}, running={}, routed=frozenset(), wanted=0))
    assert (found.state, found.reason) == ("stopped", "no replicas are placed here; its regions are west, south")
