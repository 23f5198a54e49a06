"""One revision in the cluster: its objects, its pods, and the step that brings the two to what is wanted."""

import asyncio
import logging
import os
import time
from collections.abc import Callable, Collection, Mapping
from pathlib import Path

import msgspec

from argosy.spec import secret
from argosy.spec.address import Address, TlsIdentity
from argosy.spec.errors import ArgosyError, Conflict, InvalidArgument, Unavailable
from argosy.spec.revision import Revision, RevisionStatus
from argosy.spec.settings import Home, Settings
from argosy.store.authority import REPLICA, Authority
from argosy.targets.base import Admit
from argosy.targets.ends import EndLog
from argosy.targets.health import ask
from argosy.targets.kubernetes import drain, objects, observe
from argosy.targets.kubernetes.client import Cluster
from argosy.targets.kubernetes.objects import HTTP, Live, Object, Pods
from argosy.targets.kubernetes.observe import Pod

LOG = logging.getLogger(__name__)

SHAPE, NUMBER = "argosy", "argosy-scale"
"""Managers of fields: of all that an object is, and of how many pods there shall be."""
SLOWEST = 30.0
"""Seconds between two tries of what fails."""
UNSEEN = 5.0
"""Seconds after which a Deployment that was made is seen, or is gone."""
UNREACHED = 0.5
"""Seconds between two questions to a pod that is ready and has not answered yet."""
PROBES = 32


class World:
    """What all revisions of a platform in a cluster share."""

    def __init__(
        self, home: Home, settings: Settings, admit: Admit, cluster: Cluster, authority: Authority, platform: str
    ) -> None:
        self.home, self.settings, self.admit, self.cluster = home, settings, admit, cluster
        self.authority, self.platform = authority, platform
        self.leaving = frozenset[str]()
        """Nodes that will go, by name or address."""
        self.ends = EndLog(home.run / "kubernetes.ends")

    def identity(self, revision: Revision) -> TlsIdentity:
        """What all pods of a revision show that they are."""
        return self.authority.identity(revision.endpoint, revision.id, "pods")

    def folder(self, revision: Revision) -> Path:
        """Where the certificate of a revision's pods lies here."""
        return self.home.root / "tls" / "pods" / revision.id

    def certificates(self, revisions: Collection[Revision]) -> list[dict[str, bytes]]:
        """What the pods of each show and trust, renewed where that is due. Raises what `Authority.tend` raises."""
        folders = {self.folder(each): self.identity(each) for each in revisions}
        self.authority.tend(folders)
        return [{name: (path / name).read_bytes() for name in (REPLICA, "authorities.pem")} for path in folders]

    def pods(self, revision: Revision, *, trusted: bool) -> Pods:
        """What the pods of a revision run. Raises InvalidArgument where the settings do not say."""
        settings, blobs = self.settings.kubernetes, self.settings.store.blobs
        if not settings.image:
            raise InvalidArgument("kubernetes.image is not set: it says what pods run")
        holds = "{model}" in settings.image or "{version}" in settings.image
        if not holds and not blobs:
            raise InvalidArgument(
                f"kubernetes.image '{settings.image[:200]}' is one image for all models, and nothing says where pods "
                "get a package: set store.blobs to a repository or a bucket, or write {model} and {version} into "
                "kubernetes.image, for images that `argosy image build` makes"
            )
        live = Live(
            platform=self.platform,
            identity=self.identity(revision),
            queue=settings.queue,
            priority=settings.priority,
            blobs="" if holds else blobs,
            pull_secret=settings.pull_secret,
        )
        image = objects.image_of(settings.image, revision.model, revision.version)
        parts = objects.gpu_class(revision, settings.gpu_classes)
        return Pods(image=image, trusted=trusted, grpc=True, replicas=None, gpu_class=parts, live=live)


class Workload:
    """A revision. `owner` and `deployment` are its objects as the cluster has them, `want` is set by `scale`, and
    `leaving` by `remove`; `gone`: nothing of it is left. `error`: why the last step failed; `unreached`: pods that are
    ready and have not answered yet."""

    def __init__(self, revision: Revision, world: World, owner: Object | None = None) -> None:
        self.revision, self.name = revision, objects.revision_name(revision)
        self.want: int = 0
        self.leaving = self.gone = False
        self.dirty, self.after = True, 0.0
        self.owner = owner
        self.deployment: Object | None = None
        self.shown: Mapping[str, bytes] | None = None
        self.error = ""
        self.pods: dict[str, Pod] = {}
        self.reached: set[str] = set()
        self.unreached: list[Pod] = []
        self.status = RevisionStatus()
        self.task: asyncio.Task[None] | None = None
        self._world, self._identity = world, world.identity(revision)
        self._drain, self._asked, self._made = drain.State(), set[str](), 0.0
        self._replaced, self._trouble, self._failures = 0, "", 0
        self._hard = self._forces = self._anew = self._fresh = False
        self._again, self._held, self._scaled = 0.0, "", False
        self._silent: dict[str, float] = {}

    @property
    def told(self) -> int:
        """How many pods the cluster was told to have."""
        return int(self.deployment["spec"].get("replicas", 1)) if self.deployment else 0

    def due(self, now: float) -> bool:
        """Whether a step may have something to do."""
        return self.task is None and now >= self.after and (self.dirty or (now >= self._again and bool(self.unreached)))

    def scale(self, replicas: int) -> None:
        """Want so many from now on."""
        self._scaled = True
        if replicas != self.want or self.leaving:
            self.want, self.leaving, self.dirty, self._held = replicas, False, True, ""

    def remove(self) -> None:
        """Want none, and nothing left."""
        self.want, self.leaving, self.dirty, self._held = 0, True, True, ""

    def release(self, replicas: Collection[str]) -> None:
        """The gateway sends these nothing more."""
        if not all(self._drain.victims.values()):
            before, self._drain = self._drain, drain.release(self._drain, replicas)
            self.dirty |= self._drain != before

    def retry(self) -> None:
        """Try now what waits, make its objects anew if nothing is ready, and take its fields back from others."""
        self.after, self._failures, self.dirty, self._held = 0.0, 0, True, ""
        self._forces, self._anew = True, not any(pod.ready for pod in self.pods.values())
        self._asked |= {pod.name for pod in self.pods.values() if pod.here and not pod.ready and self._stuck(pod)}

    @staticmethod
    def _stuck(pod: Pod) -> bool:
        return bool(pod.broken) or pod.restarts > 0

    def see(self, before: Pod | None, now: Pod | None) -> None:
        """One of its pods is another one, new, or gone."""
        was, is_ = ({each.uid: each} if each else {} for each in (before, now))
        surplus = sum(pod.here for pod in self.pods.values()) > self.told
        asked = {*self._drain.victims, *self._asked, *((pod.name for pod in self.pods.values()) if surplus else ())}
        for text in observe.ends(was, is_, asked):
            self._replaced, self._trouble = self._replaced + 1, text
        if over := observe.over(before, now, time.time()):
            gone = observe.replica(over[0], self.revision, self._identity, draining=False, reached=True)
            if gone is not None:
                self._world.ends.add(gone, over[1])
        if before is not None:
            self.pods.pop(before.uid, None)
        if now is not None:
            self.pods[now.uid] = now
        elif before is not None:
            self.reached.discard(before.uid)
            self._asked.discard(before.name)
        self.dirty = True

    def see_deployment(self, found: Object | None, now: float) -> None:
        """Its Deployment as the cluster has it; what was applied since is newer."""
        if found is None:
            found = self.deployment if now - self._made < UNSEEN else None
        elif self.deployment is not None and _version(found) < _version(self.deployment):
            return
        if found is not self.deployment:
            self.deployment, self.dirty = found, True

    def adopt(self) -> None:
        """Take over what runs: it is wanted unless `scale` has said otherwise, and what is ready was reached before."""
        if not self._scaled and not self.leaving:
            self.want = self.told
        self._anew = not any(pod.ready for pod in self.pods.values())
        self.reached = {uid for uid, pod in self.pods.items() if pod.ready}
        self._replaced, self._trouble = 0, ""

    def tell(self, away: str) -> bool:
        """Make the status anew; whether it is another one. `away`: why the cluster is not heard."""
        pods = sorted(self.pods.values(), key=lambda pod: pod.name)
        self.unreached = [pod for pod in pods if pod.ready and pod.here and pod.uid not in self.reached]
        found = (
            observe.replica(
                pod,
                self.revision,
                self._identity,
                draining=pod.name in self._drain.victims,
                reached=pod.uid in self.reached,
            )
            for pod in pods
        )
        replicas = tuple(each for each in found if each is not None)
        ready = any(each.phase == "ready" for each in replicas)
        failed = "" if ready else (self.error if self._hard else "") or observe.failure(pods)
        waits = away or self.error or self._held or observe.pending(pods, self.want, self.deployment)
        made = RevisionStatus(
            replicas=replicas,
            failed=failed,
            pending=waits or self._unanswered(),
            replaced=self._replaced,
            trouble=self._trouble,
        )
        different = made != self.status
        self.status = made if different else self.status
        return different

    def _unanswered(self) -> str:
        late = [pod for pod in self.unreached if time.monotonic() - self._silent.get(pod.uid, float("inf")) > SLOWEST]
        return (
            f"pod {late[0].name} is ready, and does not answer this machine at {late[0].address}: the platform has to "
            "run where the addresses of pods are reached"
            if late
            else ""
        )

    async def step(self, last: Callable[[], bool], turn: asyncio.Lock) -> None:
        """One round. `last`: whether nothing else is left of its endpoint; `turn` keeps that from being both made and
        deleted. Raises what the cluster and the admission raise."""
        self.dirty = False
        if self.want and (self.deployment is None or self._anew):
            async with turn:
                await self._make()
        if self.deployment is not None:
            await self._bring()
        if self.leaving and not self.told and all(pod.over for pod in self.pods.values()):
            async with turn:
                await self._delete(last)
        await self._reach()
        self.error, self._failures, self._hard = "", 0, False

    def fail(self, error: ArgosyError, now: float) -> None:
        """A step went wrong: it is tried again after a while."""
        self._failures += 1
        self.dirty, self.after = True, now + min(SLOWEST, 2.0 ** min(self._failures - 1, 10))
        self._hard = not isinstance(error, Conflict | Unavailable)
        if error.message != self.error:
            LOG.warning("revision %s of '%s': %s", self.revision.id, self.revision.endpoint, error.message)
        self.error = error.message

    async def _make(self) -> None:
        """Apply its objects, each of them owned by the one before, so that deleting one deletes what follows."""
        world, revision = self._world, self.revision
        admitted = await asyncio.to_thread(world.admit, revision)
        pods = world.pods(revision, trusted=admitted.trusted)
        env = secret.variables(revision.runtime.env, os.environ, "runtime.env")
        named = {secret.reference(text): env[name].encode() for name, text in revision.runtime.env.items()}
        (data,) = await asyncio.to_thread(world.certificates, [revision])
        anchor = await self._apply(objects.anchor(revision.endpoint, world.platform))
        await self._apply(objects.owned(objects.account(revision.endpoint, world.platform), anchor))
        config, *rest = objects.of_revision(revision, pods)
        self.owner = owner = await self._apply(objects.owned(config, anchor))
        secrets = {"tls": data, "env": {name: value for name, value in named.items() if name}}
        rest = [objects.secret_of(revision, world.platform, end, each) for end, each in secrets.items() if each] + rest
        for each in rest:
            made = await self._apply(objects.owned(each, owner))
            if each["kind"] == "Deployment":
                self.deployment, self._made = made, time.monotonic()
        self.shown, self._anew, self._fresh = data, False, True

    async def _apply(self, made: Object) -> Object:
        return await self._world.cluster.apply(made, manager=SHAPE, force=self._forces)

    async def _bring(self) -> None:
        """Bring the number of pods to what is wanted."""
        want = self.told if self._held else self.want
        pods, leaving = tuple(self.pods.values()), self._world.leaving
        standing = drain.Standing(want=want, told=self.told, pods=pods, leaving=leaving)
        moves, self._drain = drain.decide(standing, self._drain)
        cluster, mark = self._world.cluster, {observe.DRAINING: "true", observe.COST: "-1"}
        for name in moves.mark:
            await cluster.annotate("v1", "Pod", name, mark)
        for name in moves.unmark:
            await cluster.annotate("v1", "Pod", name, dict.fromkeys(mark))
        number = self.told if moves.replicas is None and self._fresh else moves.replicas
        if number is not None:
            uid = _uid(self.deployment)
            metadata = {"name": self.name, "uid": uid}  # so that this never creates one
            body: Object = {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": metadata}
            body["spec"] = {"replicas": number}
            try:
                self.deployment = await cluster.apply(body, manager=NUMBER, force=self._forces or self.leaving)
            except Conflict as error:
                listed = await cluster.list("apps/v1", "Deployment", f"{objects.REVISION}={self.revision.id}")
                found = next((each for each in listed if each["metadata"]["name"] == self.name), None)
                if _uid(found) != uid:  # deleted meanwhile, as its owner was
                    self.deployment, self._made, self.dirty = found, -UNSEEN, True
                    return
                self._held = f"{error.message}; `argosy deploy` takes it back"
                LOG.warning("the number of pods of '%s' stays: %s", self.revision.endpoint, self._held)
                self.dirty = True
            self._fresh = False
        for pod in [pod for pod in self.pods.values() if pod.name in self._asked and pod.here and not pod.ready]:
            await cluster.delete("v1", "Pod", pod.name)
        self._forces &= self.told != self.want

    async def renew(self, data: Mapping[str, bytes]) -> None:
        """Have its pods show and trust these files from now on."""
        if data != self.shown and self.owner is not None:
            made = objects.secret_of(self.revision, self._world.platform, "tls", data)
            await self._apply(objects.owned(made, self.owner))
            self.shown = data

    async def _delete(self, last: Callable[[], bool]) -> None:
        """Delete its configuration, which owns all else; with the last revision of an endpoint, what owns that."""
        if not self.leaving:
            return
        name = objects.label(self.revision.endpoint) if last() else self.name
        await self._world.cluster.delete("v1", "ConfigMap", name)
        self.gone = True

    async def _reach(self) -> None:
        """Ask pods that became ready once: the network may be later than the cluster."""
        asked = self.unreached[:PROBES]

        async def probe(pod: Pod) -> bool:
            address = Address(host=pod.address, port=HTTP, tls=self._identity)
            return await ask(address, "/v2/health/ready", 2.0) == "yes"

        for pod, good in zip(asked, await asyncio.gather(*map(probe, asked)), strict=True):
            self._silent.setdefault(pod.uid, time.monotonic())
            if good:
                self.reached.add(pod.uid)
                self._silent.pop(pod.uid, None)
        self._again = time.monotonic() + UNREACHED


def _uid(found: Object | None) -> str:
    return found["metadata"]["uid"] if found else ""


def _version(found: Object) -> int:
    text = found["metadata"].get("resourceVersion", "")
    return int(text) if text.isdecimal() else 0


def revision_in(found: Object) -> Revision | None:
    """The revision that a ConfigMap of ours holds, if it can be read."""
    try:
        return msgspec.json.decode(found.get("data", {}).get("revision.json", ""), type=Revision)
    except msgspec.MsgspecError:
        return None
