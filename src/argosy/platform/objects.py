"""Endpoints that are declared as objects of Kubernetes: they take the same walk as declarations by the API, and what
became of them is written into their status.

An endpoint belongs to whoever declared it first, as the ledger has it: one that the API declared is not touched from
here, nor the other way round. Objects have no finalizer: one that was deleted while nobody looked is missed later.
"""

import asyncio
import contextlib
import datetime
import functools
import logging
import time
from collections.abc import Iterator
from typing import Any

import msgspec

from argosy.api.endpoints import OBJECTS, Written, declare
from argosy.api.route import Services
from argosy.spec.errors import ArgosyError, Conflict, NotFound
from argosy.spec.status import EndpointStatus
from argosy.store.endpoints import WENT_BACK, Progress
from argosy.store.ledger import Cause
from argosy.targets.kubernetes.client import Cluster
from argosy.targets.kubernetes.definition import API, KIND, declaration
from argosy.targets.kubernetes.objects import ENDPOINT, Object, label
from argosy.targets.kubernetes.reflect import Reflector

LOG = logging.getLogger(__name__)

MANAGER = "argosy-status"
PERIOD = 1.0
"""Seconds between two looks, where nothing is heard."""
AGAIN = 5.0
"""Seconds until what was refused is tried again, and between two writes that differ in words alone."""
AT_ONCE = 8
"""Requests to the API server that run beside each other."""
REFUSED, ELSEWHERE = "Refused", "DeclaredElsewhere"


class Metadata(msgspec.Struct):
    """What is read of an object beside its spec."""

    name: str
    uid: str
    generation: int = 1


class Refusal(msgspec.Struct):
    """Why a generation of an object is not what is declared, and when it is tried again (monotonic)."""

    generation: int
    reason: str
    message: str
    again: float


class Writing(msgspec.Struct):
    """What an object was told, when (monotonic), and what that followed from."""

    status: Object
    at: float
    cause: tuple[Object, EndpointStatus | None, Progress | None, Refusal | None]


class Objects:
    """Follows the objects of one namespace, those of the platform's cluster settings."""

    def __init__(self, services: Services) -> None:
        self._services = services
        self._wake = asyncio.Event()
        self._mine: dict[str, int] | None = None
        """The endpoints that objects declared, with their generations."""
        self._admitted: dict[str, tuple[str, int]] = {}
        self._refused: dict[str, Refusal] = {}
        self._written: dict[str, Writing] = {}
        self._trouble: str = ""
        self._quiet = 0.0
        """Until when no status is written (monotonic), for this trouble."""

    async def run(self) -> None:
        """Follow them until cancelled."""
        cluster = Cluster.of(self._services.settings.kubernetes)
        reflector = Reflector(cluster, API, KIND, "", self._wake.set, _kept)
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(reflector.run())
                group.create_task(self._follow(cluster, reflector))
        finally:
            await cluster.close()

    async def _follow(self, cluster: Cluster, reflector: Reflector[Object]) -> None:
        actor = f"{OBJECTS}{cluster.namespace}"
        while True:
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._wake.wait(), PERIOD)
            self._wake.clear()
            if reflector.synced and not reflector.problem:
                try:
                    await self._pass(cluster, dict(reflector.objects), actor)
                except ArgosyError as error:  # of the database
                    LOG.warning("objects of the kind %s cannot be followed now: %s", KIND, error.message)
                    await asyncio.sleep(AGAIN)

    async def _pass(self, cluster: Cluster, objects: dict[str, Object], actor: str) -> None:
        """Declare what is new, delete what is gone, tell what there is."""
        state = self._services.state
        if self._mine is None:
            self._mine = await asyncio.to_thread(self._owned, actor)
        for each in objects.values():
            await self._admit(each, self._mine, actor)
        for name in self._mine.keys() - objects.keys():
            with contextlib.suppress(NotFound):
                cause = Cause(actor=actor, reason="its object was deleted")
                await asyncio.to_thread(functools.partial(state.delete, name, cause=cause))
            del self._mine[name]
            self._services.controller.wake()
        for table in (self._admitted, self._refused, self._written):
            for gone in table.keys() - objects.keys():
                del table[gone]
        gate, controller = asyncio.Semaphore(AT_ONCE), self._services.controller
        rollouts = {each.endpoint.name: each.serving.rollout for each in controller.declared}
        versions = controller.versions()
        if time.monotonic() >= self._quiet:
            told = (self._tell(cluster, each, rollouts.get(name), versions, gate) for name, each in objects.items())
            await asyncio.gather(*told)

    def _owned(self, actor: str) -> dict[str, int]:
        state = self._services.state
        declared = {each.endpoint.name: each.generation for each in state.endpoints()}
        return {name: generation for name, generation in declared.items() if state.creator(name) == actor}

    async def _admit(self, found: Object, mine: dict[str, int], actor: str) -> None:
        """Declare an object unless this generation of it is declared, or was refused a moment ago."""
        metadata = msgspec.convert(found["metadata"], Metadata)
        name, seen = metadata.name, (metadata.uid, metadata.generation)
        refused, state = self._refused.get(name), self._services.state
        if refused and refused.generation == metadata.generation and refused.again > time.monotonic():
            return
        if name in mine and (self._admitted.get(name) == seen or (name not in self._admitted and _told(found))):
            self._admitted[name] = seen
            return
        reason = REFUSED
        try:
            if name not in mine and await asyncio.to_thread(state.endpoint, name) is not None:
                reason = ELSEWHERE
                raise Conflict(
                    f"an endpoint '{name}' is declared already, and not by this object: delete one of both, as in "
                    f"argosy undeploy {name}"
                )
            why = f"generation {metadata.generation} of the object {name}"
            query = Written(actor=actor, reason=why, generation=None if name in mine else 0)
            await declare(self._services, declaration(found), query, keys=False)
        except ArgosyError as error:
            self._refused[name] = Refusal(metadata.generation, reason, error.message, time.monotonic() + AGAIN)
            return
        declared = await asyncio.to_thread(state.endpoint, name)
        mine[name] = declared.generation if declared else 0
        self._refused.pop(name, None)
        self._admitted[name] = seen
        self._services.controller.wake()

    async def _tell(
        self,
        cluster: Cluster,
        found: Object,
        rollout: Progress | None,
        versions: dict[str, str],
        gate: asyncio.Semaphore,
    ) -> None:
        """Write the status of an object where it is another one than it says."""
        name, before = found["metadata"]["name"], found.get("status", Object())
        view, refused = self._services.controller.view.endpoints.get(name), self._refused.get(name)
        if view is None and refused is None:
            return
        if view is not None and view.generation < (self._mine or {}).get(name, 0):
            return  # of a declaration before this one
        cause, last = (found, view, rollout, refused), self._written.get(name)
        if last and last.cause[0] is found and last.cause == cause:
            return
        status, now = told(found["metadata"]["generation"], before, view, rollout, versions, refused), time.monotonic()
        if _plain(status) == _plain(before):
            self._written[name] = Writing(status, last.at if last else now, cause)
            return
        if last and now < last.at + AGAIN and _plain(status, words=False) == _plain(last.status, words=False):
            return  # it is on its way, or differs in words alone
        body = {"apiVersion": API, "kind": KIND, "metadata": {"name": name}, "status": status}
        try:
            async with gate:
                await cluster.apply(body, manager=MANAGER, force=True, part="status")
            self._written[name], self._trouble = Writing(status, now, cause), ""
        except NotFound:
            return
        except ArgosyError as error:
            if error.message != self._trouble:
                LOG.warning("the status of the object %s cannot be written: %s", name, error.message)
            self._trouble, self._quiet = error.message, now + AGAIN


def _kept(found: Object) -> Object:
    found["metadata"].pop("managedFields", None)
    return found


def told(
    generation: int,
    before: Object,
    view: EndpointStatus | None,
    rollout: Progress | None,
    versions: dict[str, str],
    refused: Refusal | None,
) -> Object:
    """The status of an object. A condition that is what it was before keeps its time."""
    made: Object = {"observedGeneration": generation}
    back = rollout is not None and view is not None and rollout.candidate == view.revision
    conditions = [("Ready", "False", refused.reason, refused.message)] if refused else []
    if view is not None and (refused is None or refused.reason != ELSEWHERE):
        ready, reason = view.state == "ready", view.state.capitalize()
        moving = view.state in ("starting", "updating")
        conditions = conditions or [("Ready", str(ready), reason, view.reason)]
        conditions.append(("Progressing", str(moving), reason, view.reason if moving else ""))
        if rollout and back and rollout.phase in WENT_BACK:
            conditions.append(("RolledBack", "True", rollout.phase.title().replace("-", ""), rollout.reason))
        elif rollout:
            conditions.append(("RolledBack", "False", "NotRolledBack", ""))
        made |= {"replicas": view.replicas, "ready": view.ready, "url": view.url}
        made |= {"revision": view.serving_revision, "version": view.serving}
        made |= {"traffic": ", ".join(_traffic(view, rollout, versions))}
        if view.endpoint.target == "kubernetes":
            made["selector"] = f"{ENDPOINT}={label(view.name)}"
    known = {each["type"]: each for each in before.get("conditions", ())}
    now = datetime.datetime.now(datetime.UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    made["conditions"] = [
        {
            "type": kind,
            "status": status,
            "reason": reason,
            "message": message,
            "observedGeneration": generation,
            "lastTransitionTime": old["lastTransitionTime"]
            if (old := known.get(kind)) and old["status"] == status
            else now,
        }
        for kind, status, reason, message in conditions
    ]
    return made


def _traffic(view: EndpointStatus, rollout: Progress | None, versions: dict[str, str]) -> Iterator[str]:
    """Which versions answer how much, as in `digits:3 95 %`."""
    if rollout is None or not rollout.live or not 0 < rollout.weight < 100:
        if view.serving:
            yield f"{view.serving} 100 %"
        return
    for revision, weight in ((rollout.stable, 100 - rollout.weight), (rollout.candidate, rollout.weight)):
        yield f"{versions.get(revision, revision)} {weight} %"


def _told(found: Object) -> bool:
    """Whether the status says that this generation of an object was declared."""
    status: Object = found.get("status", Object())
    reasons: list[str | None] = [each.get("reason") for each in status.get("conditions", ()) if each["type"] == "Ready"]
    seen = status.get("observedGeneration") == found["metadata"]["generation"]
    return seen and not {REFUSED, ELSEWHERE} & {*reasons}


def _plain(status: Object, words: bool = True) -> Any:
    """What of a status has to differ for it to be written again."""
    left_out = {"lastTransitionTime"} if words else {"lastTransitionTime", "message"}
    conditions = [
        {key: value for key, value in each.items() if key not in left_out} for each in status.get("conditions", ())
    ]
    return {**status, "conditions": conditions}
