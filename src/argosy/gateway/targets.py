"""Routes that forward: to which clusters, for whom, with which retries, and what the key check reads about them."""

from collections.abc import Iterable, Sequence

import msgspec

from argosy.gateway.access_log import LUA
from argosy.gateway.clusters import ENGINE, GRPC, HTTP, WAITING
from argosy.gateway.listener import AFFINITY, RATE_LIMIT, WHOLE
from argosy.gateway.model import EndpointRoute, GatewayConfig, RevisionRoute, Sticky
from argosy.gateway.peers import BEYOND, PEERS, retries
from argosy.process.envoy import EXTENSIONS, Resource, seconds, set_header, typed
from argosy.serving.internal_headers import KEY, RECORD

REVISION = "x-argosy-revision"
"""Picks a revision, whatever its weight: for testers, whose key has the scope."""
ANY_REVISION: Resource = {"name": REVISION, "present_match": True}
"""The match of a request that names a revision at all."""
ENDPOINTS = "/endpoints/"
"""Where paths for rows begin."""
PREFIX = "argosy-prefix"
"""A hash of how a conversation begins, by `lua/language.lua`: those that begin alike go to the same replica."""
BYTES_PER_TOKEN = 4
SHADOW = "x-argosy-shadow"
"""What tells a replica that nobody waits for its answer."""

STICKY_LENGTH = 1_000_000
"""The length of the line. Envoy takes the hash modulo the sum of the weights, so the sum must never change."""


class Targets(msgspec.Struct, frozen=True):
    """The cluster of each (endpoint, revision, protocol). `beyond`: requests of callers, which peers may answer."""

    clusters: dict[tuple[str, str, str], str]
    config: GatewayConfig
    beyond: bool = False

    def lead(
        self,
        endpoint: EndpointRoute,
        revisions: Iterable[RevisionRoute],
        protocol: str,
        *,
        stream: bool = False,
        here: bool = False,
    ) -> Resource | None:
        """The complete route action to these revisions, or, when nobody is ready, to peers (unless it has to be `here`)
        or the activator's cluster.

        None: no revision here has a share, or none speaks this. What an engine answers may take any time, as long as
        it goes on."""
        among, endless = list(revisions), stream or protocol == ENGINE
        far = BEYOND if self.beyond and not here else ""
        if not endpoint.ready and not any(each.ready for each in among):
            spoken = HTTP if protocol == ENGINE else protocol
            if far and (cluster := self.clusters.get((endpoint.endpoint, PEERS, spoken + far))):
                longest = endpoint.waiting.seconds if endpoint.waiting else 0.0
                return self._action(endpoint, {"cluster": cluster}, protocol, stream, far=True, longest=longest)
            cluster = self._activator(endpoint, protocol)
            if endpoint.waiting and cluster:
                longest = endpoint.waiting.seconds
                return {
                    "cluster": cluster,
                    "timeout": "0s" if endless else seconds(endpoint.timeout + longest),
                    "retry_policy": until_answered(),
                    "idle_timeout": self._idle(endpoint, longest, stream),
                }
        chosen = self.choose(endpoint, among, protocol, far)
        if chosen is None:
            return None
        return self._action(endpoint, chosen, protocol, stream, far=bool(far))

    def _action(
        self, endpoint: EndpointRoute, chosen: Resource, protocol: str, stream: bool, *, far: bool, longest: float = 0.0
    ) -> Resource:
        prefix = {"hash_policy": [{"header": {"header_name": PREFIX}}]} if protocol == ENGINE else {}
        policy = retry_policy(endpoint.retries, grpc=protocol == GRPC)
        return {
            **prefix,
            **chosen,
            "timeout": "0s" if stream or protocol == ENGINE else seconds(endpoint.timeout + longest),
            "idle_timeout": self._idle(endpoint, longest, stream),
            "retry_policy": retries(policy) if far else policy,
        }

    def choose(
        self, endpoint: EndpointRoute, revisions: Iterable[RevisionRoute], protocol: str, far: str = ""
    ) -> Resource | None:
        """The part of a route action that picks a cluster."""
        shares = [
            (name, revision)
            for revision in revisions
            if revision.weight and (name := self.clusters.get((endpoint.endpoint, revision.revision, protocol + far)))
        ]
        if not shares:
            return None
        if len(shares) == 1 and protocol != ENGINE:
            return {"cluster": shares[0][0]}
        weights = [each.weight for _, each in shares]
        if sticky := endpoint.sticky if len(shares) > 1 else None:
            shares.sort(key=lambda share: share[1].revision)
            weights = sticky_parts([each.weight for _, each in shares])
        parts = [
            {
                "name": name,
                "weight": weight,
                **(_replicas(each) if protocol == ENGINE else {}),
            }
            for (name, each), weight in zip(shares, weights, strict=True)
        ]
        if sticky is None:
            return {"weighted_clusters": {"clusters": parts}}
        return {
            "weighted_clusters": {"clusters": parts, "use_hash_policy": True},
            "hash_policy": _hash_policy(sticky),
        }

    def mirrored(self, endpoint: EndpointRoute, led: Resource, protocol: str) -> list[tuple[Resource, Resource]]:
        """The action as (what the match asks for besides, action): a share of the requests has a copy to the endpoint's
        shadow revision, if it has one that speaks this; the rest, if there is one, has none."""
        mirror, asked = endpoint.mirror, HTTP if protocol == ENGINE else protocol
        if mirror is None or f"/{WAITING}/" in led.get("cluster", ""):
            return [({}, led)]
        both = [mirror.revision, *(each.revision for each in endpoint.public if protocol == ENGINE and each.weight)]
        names = [self.clusters.get((endpoint.endpoint, each, asked)) for each in both]
        if None in names:
            return [({}, led)]
        policy = {
            "disable_shadow_host_suffix_append": True,
            "request_headers_mutations": [
                {"append": set_header(SHADOW, str(mirror.tokens if protocol == ENGINE else 1))}
            ],
        }
        copied = {**led, "request_mirror_policies": [{"cluster": name, **policy} for name in names]}
        if mirror.percent == 100:
            return [({}, copied)]
        share = {"default_value": {"numerator": round(mirror.percent * 10_000), "denominator": "MILLION"}}
        return [({"runtime_fraction": share}, copied), ({}, led)]

    def _activator(self, endpoint: EndpointRoute, protocol: str) -> str | None:
        return self.clusters.get((endpoint.endpoint, WAITING, HTTP if protocol == ENGINE else protocol))

    def forward(self, endpoint: EndpointRoute, match: Resource, led: Resource, *, test: bool = False) -> Resource:
        """The route of REST or gRPC requests with this match and action; `test`: for testers only."""
        rows, begins = rows_path(endpoint.endpoint), match.get("prefix", match.get("path", ""))
        path = rows if match.get("path_separated_prefix") == rows else "/v1" if begins.startswith("/v1/") else ""
        about = self.described(endpoint, led, test=test, path=path)
        route: Resource = {"match": match, "route": led, "metadata": {"filter_metadata": {LUA: about}}}
        if filters := _filters(about):
            route["typed_per_filter_config"] = filters
        if "cookie" in about:
            cookie = {"key": "set-cookie", "value": "%DYNAMIC_METADATA(argosy:cookie)%"}
            route["response_headers_to_add"] = [{"header": cookie, "append_action": "APPEND_IF_EXISTS_OR_ADD"}]
        if "request_mirror_policies" in led:
            route["request_headers_to_add"] = [set_header(RECORD, "1")]
        if any(f"/{each}/" in led.get("cluster", "") for each in (WAITING, PEERS)):
            route["request_headers_to_add"] = [set_header("argosy-endpoint", endpoint.endpoint)]
        return route

    def described(self, endpoint: EndpointRoute, led: Resource, *, test: bool = False, path: str = "") -> Resource:
        """Route metadata for `lua/admit.lua`: `auth` true asks for a key and nothing else. `path`: of a cookie."""
        about: Resource = {"endpoint": endpoint.endpoint}
        more: Resource = {"test": True} if test else {}
        if endpoint.sticky and "hash_policy" in led:
            more |= _sticky_duties(self.config, endpoint.sticky, path or base_path(endpoint.endpoint))
        if more:
            return {**about, **more, "auth": "special", "key": endpoint.auth or test}
        return {**about, "auth": True} if endpoint.auth else about

    def _idle(self, endpoint: EndpointRoute, longest: float, stream: bool) -> str:
        """Ends a body that stops arriving. `max_stream_duration` would switch the route's own timeout off."""
        if stream:
            return seconds(max(self.config.idle_seconds, longest))
        return seconds(max(endpoint.timeout + longest + 1, self.config.body_seconds))


def evenly(revisions: Iterable[RevisionRoute]) -> list[RevisionRoute]:
    """Revisions of one version, asked for by that version: by weight if any has one, else in equal parts."""
    same = list(revisions)
    if any(revision.weight for revision in same):
        return same
    return [msgspec.structs.replace(revision, weight=1) for revision in same]


def by_version(endpoint: EndpointRoute) -> dict[str, list[RevisionRoute]]:
    """Version → its revisions, with weights that add up to more than zero."""
    versions = {revision.version: None for revision in endpoint.public}
    return {v: evenly(each for each in endpoint.public if each.version == v) for v in versions}


def picked_by_testers(endpoint: EndpointRoute) -> list[tuple[Resource, list[RevisionRoute]]]:
    """The header's match for each revision with what it leads to; empty where testers are not let in."""
    if not endpoint.testers:
        return []
    return [
        ({"name": REVISION, "string_match": {"exact": each.revision}}, evenly([each])) for each in endpoint.revisions
    ]


REACHES = 3
"""Replicas that a request is tried at beyond the first while none of them can be connected to."""


def no_such_revision(endpoint: EndpointRoute) -> str:
    """What is said about a revision that is not there."""
    known = ", ".join(sorted(each.revision for each in endpoint.revisions)) or "none"
    return f"endpoint '{endpoint.endpoint}' has no such revision; it has: {known}"


def retry_policy(retries: int, *, grpc: bool) -> Resource:
    """Again, on another replica: when nothing was answered yet, or the replica said 503, whose last answer stays. With
    no retries, only where none was reached: what was not sent has crashed none."""
    conditions = ["connect-failure"]
    if retries:
        conditions += ["refused-stream", "reset", "retriable-status-codes", *(["unavailable"] if grpc else [])]
    return {
        "retry_on": ",".join(conditions),
        "num_retries": retries or REACHES,
        "retriable_status_codes": [503],
        "retry_host_predicate": [
            {
                "name": "envoy.retry_host_predicates.previous_hosts",
                "typed_config": typed("envoy.extensions.retry.host.previous_hosts.v3.PreviousHostsPredicate"),
            }
        ],
        "host_selection_retry_max_attempts": "256",  # one that is down is the least busy: 3 of 4 picks of two
        "retry_back_off": {"base_interval": "0.005s", "max_interval": "0.100s"},
    }


def until_answered() -> Resource:
    """Again, at the same address, for some seconds: the activator may be starting. Its answers are final."""
    return {
        "retry_on": "connect-failure,refused-stream,reset",
        "num_retries": 20,
        "retry_back_off": {"base_interval": "0.100s", "max_interval": "1s"},
    }


def sticky_parts(weights: Sequence[int]) -> list[int]:
    """Weights (not all 0) as lengths that add up to `STICKY_LENGTH`. A part that grows alone keeps all it had."""
    total, before, lengths = sum(weights), 0, list[int]()
    for weight in weights:
        lengths.append(STICKY_LENGTH * (before + weight) // total - STICKY_LENGTH * before // total)
        before += weight
    return lengths


def _hash_policy(sticky: Sticky) -> list[Resource]:
    """What is hashed (xxHash64 of the value). The key's id and a new cookie are there once `lua/admit.lua` has run."""
    if sticky.by == "cookie":
        return [{"cookie": {"name": sticky.cookie}}]
    return [{"header": {"header_name": KEY if sticky.by == "key" else sticky.name}}]


def _sticky_duties(config: GatewayConfig, sticky: Sticky, path: str) -> Resource:
    """Route metadata for `lua/admit.lua`: what it does before the revision is picked anew."""
    if sticky.by == "header":
        return {}
    if sticky.by == "key":
        return {"sticky": "key"}
    secure = "; Secure" if config.tls else ""
    attributes = f"; Path={path}; Max-Age={sticky.seconds}; HttpOnly; SameSite=Lax{secure}"
    return {"sticky": "cookie", "cookie": sticky.cookie, "attributes": attributes}


def base_path(endpoint: str) -> str:
    """Where an endpoint's paths begin."""
    return f"/v2/models/{endpoint}"


def rows_path(endpoint: str) -> str:
    """Where its paths for rows begin."""
    return f"{ENDPOINTS}{endpoint}"


def switched_off(*filters: str) -> Resource:
    """Per-route configuration that takes these filters out of the request's way."""
    return {each: typed("envoy.config.route.v3.FilterConfig", disabled=True) for each in filters}


def _replicas(revision: RevisionRoute) -> Resource:
    """What `lua/affinity.lua` is told of a cluster: name and address of each replica in turn, and how many bytes of
    prompts the cache of one may hold."""
    ready = [(each.replica, each.engine) for each in revision.upstreams if each.state == "ready" and each.engine]
    hosts = [
        part for name, engine in sorted(ready, key=lambda each: each[0]) for part in (name, engine.path or str(engine))
    ]
    about: Resource = {"hosts": hosts, "cache": revision.cache * BYTES_PER_TOKEN}
    script = typed(EXTENSIONS + "filters.http.lua.v3.LuaPerRoute", filter_context=about)
    return {"typed_per_filter_config": {AFFINITY: script}}


def switched_on(*filters: str) -> Resource:
    """Per-route configuration that puts filters, which the listener leaves out, into the request's way."""
    return {each: typed("envoy.config.route.v3.FilterConfig", config={}) for each in filters}


def read_whole(most: int) -> Resource:
    """Per-route configuration of bodies of `most` bytes, that are there in full before anybody hears of them."""
    whole = typed(EXTENSIONS + "filters.http.buffer.v3.BufferPerRoute", buffer={"max_request_bytes": most})
    return {WHOLE: typed("envoy.config.route.v3.FilterConfig", config=whole)}


def _filters(about: Resource) -> Resource:
    """What needs no key needs no limit; what needs nothing needs no Lua."""
    off = [] if about.get("key", about.get("auth")) else [RATE_LIMIT]
    if "auth" not in about:
        off.append(LUA)
    return switched_off(*off)
