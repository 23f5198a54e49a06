"""Where a route sends: the clusters of an endpoint's revisions, as one cluster or as a weighted set."""

from collections.abc import Iterable

import msgspec

from argosy.gateway import sticky
from argosy.gateway.clusters import GRPC, WAITING
from argosy.gateway.model import EndpointRoute, GatewayConfig, RevisionRoute
from argosy.gateway.xds import Resource, seconds, set_header, typed

REVISION = "x-argosy-revision"
"""Picks a revision, whatever its weight: for testers, whose key has the scope."""
SHADOW = "x-argosy-shadow"
"""What tells a replica that nobody waits for its answer."""


class Targets(msgspec.Struct, frozen=True):
    """The cluster of each (endpoint, revision, protocol)."""

    clusters: dict[tuple[str, str, str], str]
    config: GatewayConfig

    def lead(
        self, endpoint: EndpointRoute, revisions: Iterable[RevisionRoute], protocol: str, *, stream: bool = False
    ) -> Resource | None:
        """The complete route action to these revisions, or to the waiting room when nobody is ready.

        None: no revision here has a share, or none speaks this.
        """
        among = list(revisions)
        if not endpoint.ready and not any(each.ready for each in among):
            room = self.clusters.get((endpoint.endpoint, WAITING, protocol))
            if endpoint.waiting and room:
                return self._wait(endpoint, room, endpoint.waiting.seconds, stream=stream)
        chosen = self.choose(endpoint, among, protocol)
        if chosen is None:
            return None
        return {**action(endpoint, chosen, protocol, stream=stream), "idle_timeout": self._idle(endpoint, 0.0, stream)}

    def choose(self, endpoint: EndpointRoute, revisions: Iterable[RevisionRoute], protocol: str) -> Resource | None:
        """The part of a route action that picks a cluster."""
        shares = [
            (name, revision)
            for revision in revisions
            if revision.weight and (name := self.clusters.get((endpoint.endpoint, revision.revision, protocol)))
        ]
        if not shares:
            return None
        if len(shares) == 1:
            return {"cluster": shares[0][0]}
        if endpoint.sticky is None:
            return {"weighted_clusters": {"clusters": [{"name": name, "weight": each.weight} for name, each in shares]}}
        shares.sort(key=lambda share: share[1].revision)
        lengths = sticky.parts([each.weight for _, each in shares])
        parts = [{"name": name, "weight": length} for (name, _), length in zip(shares, lengths, strict=True)]
        return {
            "weighted_clusters": {"clusters": parts, "use_hash_policy": True},
            "hash_policy": sticky.hash_policy(endpoint.sticky),
        }

    def mirrored(self, endpoint: EndpointRoute, led: Resource, protocol: str) -> list[tuple[Resource, Resource]]:
        """The action as (what the match asks for besides, action): a share of the requests has a copy to the endpoint's
        shadow revision, if it has one that speaks this; the rest, if there is one, has none."""
        mirror = endpoint.mirror
        name = mirror and self.clusters.get((endpoint.endpoint, mirror.revision, protocol))
        if (
            mirror is None
            or name is None
            or led.get("cluster") == self.clusters.get((endpoint.endpoint, WAITING, protocol))
        ):
            return [({}, led)]
        copied = {**led, "request_mirror_policies": [_mirror_policy(name)]}
        if mirror.percent == 100:
            return [({}, copied)]
        share = {"default_value": {"numerator": round(mirror.percent * 10_000), "denominator": "MILLION"}}
        return [({"runtime_fraction": share}, copied), ({}, led)]

    def _wait(self, endpoint: EndpointRoute, room: str, longest: float, *, stream: bool) -> Resource:
        limit = "0s" if stream else seconds(endpoint.timeout + longest)
        return {
            "cluster": room,
            "timeout": limit,
            "retry_policy": until_answered(),
            "idle_timeout": self._idle(endpoint, longest, stream),
        }

    def _idle(self, endpoint: EndpointRoute, longest: float, stream: bool) -> str:
        """A body that stops arriving ends; one that trickles is the replica's to end (`max_stream_duration` here would
        switch the route's own timeout off)."""
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


def action(endpoint: EndpointRoute, chosen: Resource, protocol: str, *, stream: bool = False) -> Resource:
    """A route action: the choice, the time it may take and how it is tried again."""
    timed: Resource = {"timeout": "0s" if stream else seconds(endpoint.timeout)}
    if endpoint.retries:
        timed["retry_policy"] = retry_policy(endpoint.retries, grpc=protocol == GRPC)
    return {**chosen, **timed}


def _mirror_policy(cluster: str) -> Resource:
    return {
        "cluster": cluster,
        "disable_shadow_host_suffix_append": True,
        "request_headers_mutations": [{"append": set_header(SHADOW, "1")}],
    }


def picked_by_testers(endpoint: EndpointRoute) -> list[tuple[Resource, list[RevisionRoute]]]:
    """The header's match for each revision with what it leads to; empty where testers are not let in."""
    if not endpoint.testers:
        return []
    return [
        ({"name": REVISION, "string_match": {"exact": each.revision}}, evenly([each])) for each in endpoint.revisions
    ]


def picks_a_revision() -> Resource:
    """The match of a request that names a revision at all."""
    return {"name": REVISION, "present_match": True}


def no_such_revision(endpoint: EndpointRoute) -> str:
    """What is said about a revision that is not there."""
    known = ", ".join(sorted(each.revision for each in endpoint.revisions)) or "none"
    return f"endpoint '{endpoint.endpoint}' has no such revision; it has: {known}"


def retry_policy(retries: int, *, grpc: bool) -> Resource:
    """Again, on another replica: when nothing was answered yet, or the replica said 503.

    The last answer is passed on as it is, so a replica's own 503 keeps its Retry-After.
    """
    conditions = ["connect-failure", "refused-stream", "reset", "retriable-status-codes"]
    return {
        "retry_on": ",".join([*conditions, "unavailable"] if grpc else conditions),
        "num_retries": retries,
        "retriable_status_codes": [503],
        "retry_host_predicate": [
            {
                "name": "envoy.retry_host_predicates.previous_hosts",
                "typed_config": typed("envoy.extensions.retry.host.previous_hosts.v3.PreviousHostsPredicate"),
            }
        ],
        "host_selection_retry_max_attempts": "32",
        "retry_back_off": {"base_interval": "0.005s", "max_interval": "0.100s"},
    }


def until_answered() -> Resource:
    """Again, at the same address, for some seconds: a waiting room that is started anew. Its answers are final."""
    return {
        "retry_on": "connect-failure,refused-stream,reset",
        "num_retries": 20,
        "retry_back_off": {"base_interval": "0.100s", "max_interval": "1s"},
    }
