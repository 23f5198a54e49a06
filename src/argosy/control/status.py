"""The status of an endpoint, in words and numbers. Pure."""

import msgspec

from argosy.spec.endpoint import Endpoint, Runtime
from argosy.spec.revision import Revision, RevisionStatus
from argosy.spec.secret import masked
from argosy.spec.status import ColdStart, EndpointPhase, EndpointStatus, SloStatus
from argosy.store.endpoints import WENT_BACK, Declared

PLAIN = Runtime()


class Facts(msgspec.Struct, frozen=True, kw_only=True):
    """What was observed and done in one pass of the controller about one endpoint."""

    declared: Declared
    revisions: dict[str, Revision]
    running: dict[str, RevisionStatus]
    routed: frozenset[str]
    error: str = ""
    url: str = ""
    now: float = 0.0
    wanted: int
    scaling: str = ""
    cold_start: ColdStart | None = None
    slos: tuple[SloStatus, ...] = ()

    def of(self, revision: str | None) -> RevisionStatus:
        """The status of a revision; without replicas, where it does not run."""
        return self.running.get(revision or "", RevisionStatus())

    def ref(self, revision: str | None) -> str:
        """`model:version` of a revision."""
        found = self.revisions.get(revision or "")
        return f"{found.model}:{found.version}" if found else ""


def status(facts: Facts) -> EndpointStatus:
    """The status that follows from the facts."""
    declared, active = facts.declared, facts.declared.serving.active
    revision = facts.revisions[declared.revision]
    phase, reason = _phase(facts)
    return EndpointStatus(
        name=declared.endpoint.name,
        state=phase,
        reason=reason,
        model=declared.endpoint.model,
        version=facts.ref(declared.revision),
        digest=revision.digest,
        revision=declared.revision,
        serving=facts.ref(active),
        serving_revision=active or "",
        replicas=facts.wanted,
        ready=facts.of(active).ready,
        url=facts.url,
        scaling=facts.scaling,
        cold_start=facts.cold_start,
        slos=facts.slos,
        endpoint=_shown(declared.endpoint),
        generation=declared.generation,
        created=declared.created,
        updated=declared.updated,
    )


def _phase(facts: Facts) -> tuple[EndpointPhase, str]:
    declared, active = facts.declared, facts.declared.serving.active
    wanted, new = facts.wanted, facts.of(declared.revision)
    updating = active is not None and active != declared.revision
    rollout = declared.serving.rollout
    if updating and rollout and rollout.phase in WENT_BACK and rollout.candidate == declared.revision:
        what = f"{facts.ref(declared.revision)} was {rollout.phase.replace('-', ' ')}: {rollout.reason}"
        return "failed", f"{what}; {facts.ref(active)} goes on serving"
    if new.failed and active == declared.revision and new.ready >= wanted:
        return "ready", f"{facts.ref(active)} goes on serving, and no replica of it is started any more: {new.failed}"
    if new.failed:
        still = f"; {facts.ref(active)} goes on serving" if updating and facts.of(active).ready else ""
        return "failed", f"{facts.ref(declared.revision)} does not become ready: {new.failed}{still}"
    if updating:
        said = rollout.reason if rollout and rollout.live else ""
        return "updating", facts.error or new.pending or said or _doing(facts)
    if not wanted and facts.declared.endpoint.replicas != 0 and active:
        return "ready", facts.error
    if not wanted:
        regions = ", ".join(declared.endpoint.regions)
        elsewhere = f"no replicas are placed here; its regions are {regions}" if regions else ""
        return ("starting" if facts.routed else "stopped"), facts.error or elsewhere
    if new.ready >= wanted and declared.revision in facts.routed:
        return "ready", facts.error
    return "starting", facts.error or new.pending or _doing(facts)


def _doing(facts: Facts) -> str:
    """Since when the declared revision's oldest replica that starts has done so, and what it is at."""
    starting = [each for each in facts.of(facts.declared.revision).replicas if each.phase == "starting"]
    if not starting:
        return ""
    oldest = min(starting, key=lambda each: each.started)
    took = f" has been starting for {max(facts.now - oldest.started, 0):.0f} s" if oldest.started else ""
    return f"{oldest.id}{took}: {oldest.doing}"


def _shown(endpoint: Endpoint) -> Endpoint:
    """As it was declared, without secrets that earlier versions took in clear."""
    plain = not endpoint.triggers and endpoint.runtime == PLAIN
    return endpoint if plain else msgspec.convert(masked(msgspec.to_builtins(endpoint)), Endpoint)
