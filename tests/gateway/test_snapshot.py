"""Snapshots as data: exact where they are small, invariants where they are large."""

import json

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from argosy.gateway.bootstrap import bootstrap
from argosy.gateway.clusters import WAITING, eds_file
from argosy.gateway.model import (
    ApiKey,
    EndpointRoute,
    GatewayConfig,
    Mirror,
    RevisionRoute,
    Sticky,
    Tls,
    Upstream,
    Waiting,
)
from argosy.gateway.snapshot import build_snapshot
from argosy.gateway.targets import STICKY_LENGTH
from argosy.process import envoy
from argosy.spec.address import Address, TlsIdentity
from argosy.spec.errors import Conflict, Internal, InvalidArgument
from argosy.spec.limits import Limits
from tests.gateway.envoy_api import Descriptors
from tests.gateway.kit import api_key, one, revision
from tests.gateway.snapshot_kit import check_snapshot, routed, routes_of, static, validate

CONFIG = GatewayConfig(run_dir="/run/argosy", max_connections_per_address=4096)
BOUND = msgspec.structs.replace(CONFIG, max_connections_per_address=512)
"""With 16 times the filter chains, which are alike."""

names = st.from_regex(r"[a-z0-9]([a-z0-9._-]{0,20}[a-z0-9])?", fullmatch=True)
tokens = st.from_regex(r"[A-Za-z0-9][A-Za-z0-9._-]{0,20}", fullmatch=True)


PERCENT = st.floats(0.0001, 100)
STICKY = st.sampled_from(
    [
        Sticky(by="header", name="x-user"),
        Sticky(by="key"),
        Sticky(by="cookie"),
        Sticky(by="cookie", name="c", seconds=9),
    ]
)


TLS = TlsIdentity(name="spiffe://p/endpoint/e/revision/r/replica/0", files="/tls")


@st.composite
def endpoint_lists(draw):
    """Endpoints with sockets that are all different."""
    number = iter(range(10_000))

    def replicas():
        for _ in range(draw(st.integers(0, 3))):
            n = next(number)
            yield Upstream(
                replica=f"p{n}",
                http=draw(
                    st.sampled_from([Address(path=f"/s/{n}.h"), Address(port=n + 1), Address(port=n + 1, tls=TLS)])
                ),
                grpc=draw(st.sampled_from([None, Address(path=f"/s/{n}.g")])),
                state=draw(st.sampled_from(["ready", "draining"])),
            )

    def revisions():
        for name in draw(st.lists(tokens, max_size=4, unique=True)):
            yield RevisionRoute(
                revision=name,
                version=draw(st.sampled_from(["1", "2", "v.3"])),
                weight=draw(st.integers(0, 100)),
                upstreams=tuple(replicas()),
            )

    return [
        shaped(draw, EndpointRoute(endpoint=name, revisions=tuple(revisions()), retries=draw(st.integers(0, 3))))
        for name in draw(st.lists(names, max_size=4, unique=True))
    ]


def shaped(draw, endpoint):
    """The endpoint with any of what is optional."""
    auth = draw(st.booleans())
    mirrors = st.builds(
        Mirror, revision=st.sampled_from([each.revision for each in endpoint.revisions] or ["-"]), percent=PERCENT
    )
    return msgspec.structs.replace(
        endpoint,
        auth=auth,
        mirror=draw(st.none() | mirrors) if endpoint.revisions else None,
        sticky=draw(st.none() | (STICKY if auth else STICKY.filter(lambda each: each.by != "key"))),
        testers=draw(st.booleans()),
        waiting=draw(
            st.none()
            | st.builds(
                Waiting, http=st.just(Address(path="/s/w")), grpc=st.sampled_from([None, Address(path="/s/wg")])
            )
        ),
    )


key_lists = st.lists(
    st.builds(
        ApiKey,
        id=tokens,
        sha256=st.binary(min_size=32, max_size=32).map(bytes.hex),
        scopes=st.lists(names | st.sampled_from(["*", "*:test", "digits:test"]), max_size=3).map(tuple),
        requests_per_second=st.none() | st.floats(0.001, 10_000),
    ),
    max_size=4,
    unique_by=(lambda key: key.id, lambda key: key.sha256),
)


@pytest.fixture(scope="module")
def descriptors(tmp_path_factory):
    return Descriptors(envoy.find(), tmp_path_factory.mktemp("cache"))


@given(endpoints=endpoint_lists(), keys=key_lists)
@settings(deadline=None, max_examples=25)
def test_every_snapshot_holds_together_and_fits_envoy(descriptors, endpoints, keys):
    snapshot = build_snapshot(CONFIG, endpoints, keys)
    check_snapshot(snapshot)
    files = snapshot.files()
    descriptors.check_all(files)
    assert msgspec.json.decode(msgspec.json.encode(files)) == files
    assert all(each.keys() <= snapshot.clusters.keys() for each in routed(snapshot))
    assert {eds_file(name) for name in snapshot.hosts} <= files.keys()
    assert build_snapshot(CONFIG, reversed(endpoints), reversed(keys)) == snapshot
    listeners = json.dumps(files["lds.json"])
    assert not any(key.sha256 in listeners for key in keys)


@pytest.mark.slow
@given(endpoints=endpoint_lists())
@settings(deadline=None, max_examples=30)
def test_a_cluster_of_one_name_never_changes(endpoints):
    first = build_snapshot(CONFIG, endpoints)
    changed = [
        msgspec.structs.replace(each, limits=Limits(requests=5), timeout=1, retries=1, sticky=None, auth=not each.auth)
        for each in endpoints
    ]
    second = build_snapshot(CONFIG, changed)
    same = first.clusters.keys() & second.clusters.keys()
    assert all(f"/{WAITING}/" in name or name.startswith("@") for name in same)
    assert all(first.clusters[name] == second.clusters[name] for name in same)
    moved = build_snapshot(CONFIG, [_without_replicas(each) for each in endpoints])
    for name in first.clusters.keys() & moved.clusters.keys():
        assert first.clusters[name] == moved.clusters[name]


def _without_replicas(endpoint):
    revisions = tuple(msgspec.structs.replace(each, upstreams=()) for each in endpoint.revisions)
    return msgspec.structs.replace(endpoint, revisions=revisions)


@given(endpoints=endpoint_lists())
@settings(deadline=None, max_examples=30)
def test_shares_follow_the_weights(endpoints):
    snapshot = build_snapshot(CONFIG, endpoints)
    routes = list(routes_of(snapshot.routes["argosy"]))
    for endpoint in endpoints:
        path = f"/v2/models/{endpoint.endpoint}"
        plain = [each for each in routes if "headers" not in each["match"]]
        *copied, route = [each for each in plain if each["match"].get("path_separated_prefix") == path]
        for each in copied:
            policies = each["route"].pop("request_mirror_policies")
            assert (each["route"], len(policies)) == (route["route"], 1)
        weights = {each.revision: each.weight for each in endpoint.revisions if each.weight}
        if endpoint.waiting and not endpoint.ready and not any(each.ready for each in endpoint.public):
            assert route["route"]["cluster"].split("/")[1] == "@waiting"
        elif not weights:
            assert route["direct_response"]["status"] == 503
        elif len(weights) > 1:
            got = {
                each["name"].split("/")[1]: each["weight"] for each in route["route"]["weighted_clusters"]["clusters"]
            }
            whole = STICKY_LENGTH if endpoint.sticky else sum(weights.values())
            assert sum(got.values()) == whole
            for name, weight in weights.items():
                wrong = abs(got[name] / whole - weight / sum(weights.values()))
                assert wrong <= (1 / STICKY_LENGTH if endpoint.sticky else 0)
        else:
            assert route["route"]["cluster"].split("/")[1] in weights


def test_the_hosts_of_a_cluster():
    ups = (
        Upstream(replica="b", http=Address(path="/s/b"), grpc=Address(path="/s/bg"), state="draining"),
        Upstream(replica="a", http=Address(path="/s/a")),
    )
    snapshot = build_snapshot(CONFIG, [EndpointRoute(endpoint="e", revisions=(revision("r", "1", *ups, weight=1),))])
    by_protocol = {name.split("/")[2]: hosts for name, hosts in snapshot.hosts.items() if name[0] != "@"}
    assert by_protocol["http"]["endpoints"][0]["lb_endpoints"] == [
        {
            "endpoint": {"address": {"pipe": {"path": "/s/a"}}},
            "health_status": "HEALTHY",
            "metadata": {"filter_metadata": {"argosy": {"replica": "a", "revision": "r"}}},
        },
        {
            "endpoint": {"address": {"pipe": {"path": "/s/b"}}},
            "health_status": "DRAINING",
            "metadata": {"filter_metadata": {"argosy": {"replica": "b", "revision": "r"}}},
        },
    ]
    assert len(by_protocol["grpc"]["endpoints"][0]["lb_endpoints"]) == 1


def test_a_cluster_with_tls_is_the_same_whichever_replicas_there_are():
    def snapshot(*slots: int):
        ups = [
            Upstream(
                replica=f"e-{n}", http=Address(port=n + 1, tls=TlsIdentity(name=f"{TLS.name[:-1]}{n}", files="/tls"))
            )
            for n in slots
        ]
        return build_snapshot(CONFIG, [EndpointRoute(endpoint="e", revisions=(revision("r", "1", *ups, weight=1),))])

    one, three = snapshot(0), snapshot(1, 2, 3)
    assert one.clusters == three.clusters
    (tls,) = next(iter(one.clusters.values()))["transport_socket_matches"]
    common = tls["transport_socket"]["typed_config"]["common_tls_context"]
    (name,) = common["combined_validation_context"]["default_validation_context"]["match_typed_subject_alt_names"]
    assert name == {"san_type": "URI", "matcher": {"prefix": "spiffe://p/endpoint/e/revision/r/replica/"}}
    (host,) = one.hosts[next(iter(one.clusters))]["endpoints"][0]["lb_endpoints"]
    assert host["metadata"]["filter_metadata"]["envoy.transport_socket_match"] == tls["match"]
    assert set(one.callers) == {"/tls/gateway.own.json", "/tls/gateway.trusted.json"}


@pytest.mark.parametrize("tls", [None, Tls("/c.pem", "/k.pem")])
async def test_envoy_itself_validates_it(descriptors, tmp_path, tls):
    config = msgspec.structs.replace(CONFIG if tls else BOUND, tls=tls, access_log=str(tmp_path / "a.log"))
    if tls:
        from tests.gateway.test_tls import certificate

        cert, key = certificate(tmp_path, "c", "x")
        config = msgspec.structs.replace(config, tls=Tls(str(cert), str(key)))
    endpoints = [
        EndpointRoute(
            endpoint="digits",
            revisions=(
                revision(
                    "r1", "1", Upstream(replica="a", http=Address(path="/s/a"), grpc=Address(path="/s/ag")), weight=90
                ),
                revision("r2", "2", Upstream(replica="b", http=Address(path="/s/b")), weight=10),
            ),
        ),
        EndpointRoute(endpoint="open", auth=False),
    ]
    snapshot = build_snapshot(config, endpoints, [api_key(requests_per_second=5, scopes=("digits",))])
    descriptors.check(static(config, snapshot), "static", "envoy.config.bootstrap.v3.Bootstrap")
    descriptors.check(bootstrap(config, "node"), "bootstrap", "envoy.config.bootstrap.v3.Bootstrap")
    await validate(envoy.find(), static(config, snapshot), tmp_path)
    broken = static(config, snapshot)
    broken["static_resources"]["clusters"][0]["connect_timeout"] = "-1s"
    with pytest.raises(Internal, match=r"Envoy refuses the configuration.*Invalid duration"):
        await validate(envoy.find(), broken, tmp_path)


@pytest.mark.parametrize(
    ("endpoints", "keys", "what"),
    [
        ([one("/s/a"), one("/s/b")], [], "endpoint 'digits'"),
        ([one("/s/a"), one("/s/a", endpoint="other")], [], "address 'unix:/s/a'"),
        ([], [api_key(), api_key("other")], "key id 'k1'"),
        ([], [api_key(), api_key(id="k2")], "key hash"),
        (
            [EndpointRoute(endpoint="e", revisions=(revision("r", "1"), revision("r", "2")))],
            [],
            "revision of endpoint 'e' 'r'",
        ),
    ],
)
def test_collisions_are_conflicts(endpoints, keys, what):
    with pytest.raises(Conflict, match=what):
        build_snapshot(CONFIG, endpoints, keys)


def test_a_route_to_nowhere_is_caught():
    snapshot = build_snapshot(CONFIG, [one("/s/a")])
    snapshot.clusters.clear()
    with pytest.raises(Internal, match="differ"):
        check_snapshot(snapshot)
    snapshot.hosts.clear()
    with pytest.raises(Internal, match="leads to no cluster"):
        check_snapshot(snapshot)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Upstream(replica="a", http=Address(path="/" + "x" * 107)), "set ARGOSY_HOME to a shorter folder"),
        (lambda: Upstream(replica="a", http=Address(path="relative")), "absolute"),
        (lambda: Upstream(replica="a b", http=Address(path="/s")), "replica id 'a b'"),
        (lambda: GatewayConfig(run_dir="/" + "x" * 105), "set ARGOSY_HOME to a shorter folder"),
        (lambda: GatewayConfig(run_dir="here"), "absolute"),
        (lambda: GatewayConfig(run_dir="/r", port=70000), r"gateway\.port"),
        (lambda: GatewayConfig(run_dir="/r", max_body_bytes=0), r"gateway\.max_body_bytes"),
        (lambda: GatewayConfig(run_dir="/r", idle_seconds=0), r"gateway\.idle_seconds"),
        (lambda: GatewayConfig(run_dir="/r", concurrency=-1), "concurrency"),
        (lambda: EndpointRoute(endpoint="Bad"), "endpoint name 'Bad'"),
        (lambda: EndpointRoute(endpoint="e", timeout=0), "timeout"),
        (lambda: RevisionRoute(revision="r", version="1", weight=-1), "weight"),
        (lambda: RevisionRoute(revision="r", version="1/2"), "version '1/2'"),
        (lambda: Limits(requests=0), r"limits\.requests"),
        (lambda: Limits(retry_budget_percent=101), "retry_budget_percent"),
        (lambda: ApiKey(id="k", sha256="xyz"), "64 lower-case hex"),
        (lambda: api_key(burst=3), "burst needs requests a second"),
        (lambda: api_key(requests_per_second=0), "requests a second"),
        (lambda: api_key(scopes=("a b",)), "scope 'a b'"),
        (lambda: Tls("c", "/k"), "absolute"),
    ],
)
def test_what_cannot_be_is_said_clearly(make, message):
    with pytest.raises(InvalidArgument, match=message):
        make()


def test_what_is_not_asked_for_leaves_no_trace():
    """An endpoint without mirror, sticky callers, testers and activator has the routes it always had."""
    revisions = (revision("r1", "1", "/s/a", weight=1), revision("r2", "2", "/s/b", weight=1))
    snapshot = build_snapshot(CONFIG, [EndpointRoute(endpoint="digits", revisions=revisions)], [api_key()])
    routes = list(routes_of(snapshot.routes["argosy"]))
    own = [each for each in routes if each.get("metadata", {}).get("filter_metadata", {})]
    said = json.dumps([each for each in own if "digits" in json.dumps(each)])
    assert "digits" in said
    for word in ("mirror", "hash", "special", "set-cookie", "x-argosy", "@waiting"):
        assert word not in said
    (route,) = [each for each in routes if each["match"].get("path_separated_prefix") == "/v2/models/digits"]
    assert route.keys() == {"match", "route", "metadata"}
    assert route["metadata"]["filter_metadata"]["envoy.filters.http.lua"] == {"endpoint": "digits", "auth": True}
