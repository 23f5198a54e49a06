"""From decisions to the gateway's words."""

from argosy.control.decide import Route
from argosy.control.routing import api_keys, endpoint_route, upstreams
from argosy.gateway.model import ApiKey, Mirror, Upstream
from argosy.spec.address import Address
from argosy.spec.endpoint import Endpoint
from argosy.spec.limits import Limits
from argosy.spec.revision import Replica, ReplicaPhase, Revision, RevisionStatus
from argosy.spec.rollout import Rollout, Shadow
from argosy.spec.settings import GatewaySettings
from argosy.store.keys import KeyRecord


def replica(id: str, phase: ReplicaPhase) -> Replica:
    return Replica(
        id=id,
        endpoint="d",
        revision="r",
        phase=phase,
        http=Address(path=f"/{id}"),
        grpc=Address(path=f"/{id}.g"),
        started=0.0,
    )


def record(**more: object) -> KeyRecord:
    return KeyRecord(id="k", name="k", hash="0" * 64, scopes=("*",), created="", **more)  # pyright: ignore


def test_only_replicas_that_serve_or_drain_are_upstreams():
    phases: tuple[ReplicaPhase, ...] = ("stopping", "draining", "ready", "starting")
    found = upstreams(replica(f"d-{n}", phase) for n, phase in enumerate(phases))
    assert found == (
        Upstream(replica="d-1", http=Address(path="/d-1"), grpc=Address(path="/d-1.g"), state="draining"),
        Upstream(replica="d-2", http=Address(path="/d-2"), grpc=Address(path="/d-2.g")),
    )


def test_a_route_carries_weights_versions_and_what_the_endpoint_declares():
    revisions = {"r": Revision(id="r", endpoint="d", model="m", version="7", digest="sha256:0")}
    standings = {"r": RevisionStatus(replicas=(replica("d-0", "ready"),))}
    limits = Limits(requests=3)
    endpoint = Endpoint(name="d", model="m:7", timeout=5, retries=1, public=True, limits=limits)
    route = endpoint_route(endpoint, Route((("r", 100),)), revisions, lambda each: upstreams(standings[each].replicas))
    assert (route.timeout, route.retries, route.auth, route.limits) == (5, 1, False, limits)
    assert [(each.revision, each.version, each.weight) for each in route.revisions] == [("r", "7", 100)]
    assert (
        endpoint_route(endpoint, Route(), revisions, lambda each: upstreams(standings[each].replicas)).revisions == ()
    )


def test_a_shadow_gets_copies_of_the_declared_share_and_no_weight():
    revisions = {
        id: Revision(id=id, endpoint="d", model="m", version=version, digest="sha256:0")
        for id, version in (("r", "7"), ("s", "8"))
    }
    endpoint = Endpoint(name="d", model="m:8", rollout=Rollout(shadow=Shadow(share=0.25)))
    route = endpoint_route(endpoint, Route((("r", 100),), "s"), revisions, lambda _: ())
    assert [(each.revision, each.weight) for each in route.revisions] == [("r", 100), ("s", 0)]
    assert [each.revision for each in route.public] == ["r"]
    assert route.mirror == Mirror(revision="s", percent=25.0, tokens=16)
    assert endpoint_route(endpoint, Route((("r", 100),)), revisions, lambda _: ()).mirror is None


def test_keys_have_their_own_rate_or_the_gateways_and_revoked_ones_are_gone():
    limited = GatewaySettings(rate_limit=5.0, rate_burst=9)
    assert api_keys([record(revoked="now")], limited) == ()
    assert api_keys([record()], GatewaySettings()) == (ApiKey(id="k", sha256="0" * 64),)
    assert api_keys([record()], limited)[0].requests_per_second == 5.0
    assert api_keys([record()], limited)[0].burst == 9
    assert api_keys([record(rate=2.0)], limited)[0].requests_per_second == 2.0
