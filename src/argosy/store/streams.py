"""What a fleet is to monitors, reports and the log: an endpoint named `fleet.NAME`, which serves the version that most
of its devices have committed. Admission leaves such names to fleets."""

import msgspec

from argosy.spec.endpoint import Endpoint, check_name
from argosy.spec.errors import NotFound
from argosy.spec.monitor import Monitor
from argosy.spec.payload import PayloadLog
from argosy.spec.revision import Revision
from argosy.store.endpoints import Declared, Endpoints, Serving
from argosy.store.fleets import Deployment
from argosy.store.store import Store

PREFIX = "fleet."
VERSIONS = 20
"""Deployments of a fleet, the last ones, whose versions are known."""


def stream(fleet: str) -> str:
    """The name of a fleet among endpoints. Raises InvalidArgument where that is too long."""
    return check_name(PREFIX + fleet, "the name of the fleet, as  fleet.NAME ,")


def names(store: Store) -> set[str]:
    """Of all endpoints and fleets: whatever something can be wrong with."""
    return Endpoints(store.database).names() | {stream(each.name) for each in store.fleets.every()}


def streams(store: Store) -> tuple[list[Declared], dict[str, Revision]]:
    """The fleets that have a model, and their versions."""
    found: list[Declared] = []
    revisions: dict[str, Revision] = {}
    for fleet in store.fleets.every():
        one, versions = _stream(store, fleet.name)
        revisions |= versions
        found += [one] if one is not None else []
    return found, revisions


def served(store: Store, name: str) -> tuple[Declared, Revision]:
    """See `Endpoints.served`; of a fleet, too."""
    if not name.startswith(PREFIX):
        return Endpoints(store.database).served(name)
    fleet = store.fleets.get(name.removeprefix(PREFIX)).name
    found, revisions = _stream(store, fleet)
    if found is None:
        raise NotFound(f"no model was deployed to fleet '{fleet}': argosy fleet deploy {fleet} MODEL")
    return found, revisions[found.revision]


def _stream(store: Store, fleet: str) -> tuple[Declared | None, dict[str, Revision]]:
    name, deployments = stream(fleet), store.fleets.deployments(fleet, most=VERSIONS)
    if not deployments:
        return None, {}
    running = {each.deployment: each.devices for each in store.fleets.devices.counts(fleet) if each.state == "active"}
    chosen = max(deployments, key=lambda one: (running.get(one.number, 0), one.number))
    revisions = {
        f"{name}-{each.number}": Revision(
            id=f"{name}-{each.number}", endpoint=name, model=each.ref, version=each.ref, digest=each.package
        )
        for each in deployments
    }
    declared = Declared(
        endpoint=_endpoint(name, chosen),
        revision=f"{name}-{chosen.number}",
        serving=Serving(),
        generation=chosen.number,
        created="",
        updated="",
    )
    return declared, revisions


def _endpoint(name: str, deployment: Deployment) -> Endpoint:
    """As if it had been declared: with a log where devices send payloads, and the monitor of the deployment."""
    said, log = deployment.declaration, None
    if said.get("payloads"):
        log = PayloadLog(sample=float(said["payloads"]))
    monitor = msgspec.convert(said["monitor"], Monitor) if log and said.get("monitor") else None
    return Endpoint(name=name, model=deployment.ref, payload=log, monitor=monitor)
