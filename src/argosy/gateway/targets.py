"""Where a route sends: the clusters of an endpoint's revisions, as one cluster or as a weighted set."""

from collections.abc import Iterable

import msgspec

from argosy.gateway.access_log import LUA
from argosy.gateway.clusters import GRPC
from argosy.gateway.model import EndpointRoute, RevisionRoute
from argosy.gateway.xds import Resource, seconds, typed


class Targets(msgspec.Struct, frozen=True):
    """The cluster of each (endpoint, revision, protocol)."""

    clusters: dict[tuple[str, str, str], str]

    def choose(self, endpoint: EndpointRoute, revisions: Iterable[RevisionRoute], protocol: str) -> Resource | None:
        """The part of a route action that picks a cluster. None: no revision here has a share, or none speaks this."""
        shares = [
            (name, revision)
            for revision in revisions
            if revision.weight and (name := self.clusters.get((endpoint.endpoint, revision.revision, protocol)))
        ]
        if not shares:
            return None
        if len(shares) == 1:
            return {"cluster": shares[0][0]}
        return {"weighted_clusters": {"clusters": [{"name": name, "weight": each.weight} for name, each in shares]}}


def evenly(revisions: Iterable[RevisionRoute]) -> list[RevisionRoute]:
    """Revisions of one version, asked for by that version: by weight if any has one, else in equal parts."""
    same = list(revisions)
    if any(revision.weight for revision in same):
        return same
    return [msgspec.structs.replace(revision, weight=1) for revision in same]


def by_version(endpoint: EndpointRoute) -> dict[str, list[RevisionRoute]]:
    """Version → its revisions, with weights that add up to more than zero."""
    versions = {revision.version: None for revision in endpoint.revisions}
    return {v: evenly(each for each in endpoint.revisions if each.version == v) for v in versions}


def action(endpoint: EndpointRoute, chosen: Resource, protocol: str, *, stream: bool = False) -> Resource:
    """A route action: the choice, the time it may take and how it is tried again."""
    timed: Resource = {"timeout": "0s" if stream else seconds(endpoint.timeout)}
    if endpoint.retries:
        timed["retry_policy"] = retry_policy(endpoint.retries, protocol)
    return {**chosen, **timed}


def retry_policy(retries: int, protocol: str) -> Resource:
    """Again, on another replica: when nothing was answered yet, or the replica said 503.

    The last answer is passed on as it is, so a replica's own 503 keeps its Retry-After. A dead replica has the fewest
    requests, so least-request prefers it: only many picks make sure that a retry goes to one that lives.
    """
    conditions = ["connect-failure", "refused-stream", "reset", "retriable-status-codes"]
    return {
        "retry_on": ",".join([*conditions, "unavailable"] if protocol == GRPC else conditions),
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


def described(endpoint: EndpointRoute) -> Resource:
    """Route metadata: what the key check and the access log read."""
    about: Resource = {"endpoint": endpoint.endpoint}
    if endpoint.auth:
        about["auth"] = True
    return {"filter_metadata": {LUA: about}}


def switched_off(*filters: str) -> Resource:
    """Per-route configuration that takes these filters out of the request's way."""
    return {each: typed("envoy.config.route.v3.FilterConfig", disabled=True) for each in filters}
