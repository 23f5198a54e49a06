"""A replica and an endpoint's status, as the controller sees them."""

from argosy.spec.address import Address
from argosy.spec.endpoint import Endpoint
from argosy.spec.status import EndpointStatus, ReplicaStatus


def replica(revision: str) -> ReplicaStatus:
    return ReplicaStatus(
        id=f"digits-{revision}-0",
        revision=revision,
        endpoint="digits",
        phase="ready",
        http=Address(path="/x.sock"),
        started=0.0,
        version="digits:1",
    )


def status(slos) -> EndpointStatus:
    return EndpointStatus(
        name="digits",
        state="ready",
        model="digits:1",
        version="digits:1",
        digest="sha256:0",
        revision="r1",
        serving="digits:1",
        serving_revision="r1",
        replicas=1,
        ready=1,
        endpoint=Endpoint(name="digits", model="digits:1", slos=slos),
        generation=1,
        created="",
        updated="",
    )
