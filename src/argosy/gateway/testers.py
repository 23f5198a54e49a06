"""A revision picked by a header: for testers whose key has the scope, whatever the revision's weight."""

from argosy.gateway.model import EndpointRoute, RevisionRoute
from argosy.gateway.targets import evenly
from argosy.gateway.xds import Resource

HEADER = "x-argosy-revision"


def picked(endpoint: EndpointRoute) -> list[tuple[Resource, list[RevisionRoute]]]:
    """The header's match for each revision with what it leads to; empty where testers are not let in."""
    if not endpoint.testers:
        return []
    return [({"name": HEADER, "string_match": {"exact": each.revision}}, evenly([each])) for each in endpoint.revisions]


def any_other() -> Resource:
    """The match of a request that names a revision at all."""
    return {"name": HEADER, "present_match": True}


def unknown(endpoint: EndpointRoute) -> str:
    """What is said about a revision that is not there."""
    known = ", ".join(sorted(each.revision for each in endpoint.revisions)) or "none"
    return f"endpoint '{endpoint.endpoint}' has no such revision; it has: {known}"
