"""Which revision a declaration means."""

import hashlib

import msgspec

from argosy.spec.endpoint import Endpoint
from argosy.store.version import Version
from argosy.targets.base import Revision


def revision_of(endpoint: Endpoint, version: Version) -> Revision:
    """The revision that serves `version` as `endpoint` declares it: the same bytes and settings give the same id.

    The endpoint and the version's name are part of it, since replicas answer to the one and report the other.
    """
    what = (endpoint.name, version.ref, version.digest, endpoint.runtime, endpoint.resources)
    return Revision(
        id=hashlib.sha256(msgspec.json.encode(what, order="deterministic")).hexdigest()[:10],
        endpoint=endpoint.name,
        model=version.name,
        version=str(version.number),
        digest=version.digest,
        runtime=endpoint.runtime,
        resources=endpoint.resources,
    )
