"""The target of Kubernetes: replicas as pods of Deployments, driven as processes of this machine are.

What is wanted is told to the cluster, what there is comes by watches: no call of the controller waits for either. All
that is known stands in the cluster, so that whoever starts anew finds it there.
"""

import asyncio
import contextlib
import logging
import shutil
import time
from collections.abc import AsyncIterator, Callable, Collection

import msgspec

from argosy.spec.errors import ArgosyError, Internal, PermissionDenied, Unavailable
from argosy.spec.revision import ResourceUsage, Revision, RevisionStatus
from argosy.spec.settings import Home, Settings
from argosy.store.authority import Authority
from argosy.store.durable import say
from argosy.targets.base import Admit, Away, Capacity
from argosy.targets.ends import Ends
from argosy.targets.kubernetes import objects
from argosy.targets.kubernetes.client import Cluster
from argosy.targets.kubernetes.objects import ENDPOINT, PLATFORM, REVISION, Object
from argosy.targets.kubernetes.observe import Pod, look, used
from argosy.targets.kubernetes.reflect import Reflector
from argosy.targets.kubernetes.workload import SLOWEST, UNREACHED, Workload, World, revision_in

LOG = logging.getLogger(__name__)

TICK, PAUSE = 1.0, 0.02
"""Seconds after which all is looked at again, and within which changes are taken together."""
TEND_SECONDS, WRITE_SECONDS = 60.0, 2.0
METRICS, METRICS_SECONDS = "metrics.k8s.io/v1beta1", 15.0
"""Where a cluster has metrics, and after how many seconds there are new ones."""
PATIENCE = 2.0
"""Seconds that nobody waits longer for them."""
FIRST, SYNC = 5.0, 20.0
"""Seconds in which the cluster must have told what is there, when this begins and later."""
CORDON = "argosy-cordon"
"""Manager of the field by which a node takes no pods."""
AT_ONCE = 16
"""Revisions at which something is done at one time."""


class KubernetesTarget:
    """Implements `base.Target`; what it makes is marked as made by `platform`. Raises InvalidArgument where the
    settings name no cluster."""

    def __init__(self, home: Home, settings: Settings, admit: Admit, authority: Authority, *, platform: str) -> None:
        self._cluster = Cluster.of(settings.kubernetes)
        self._world = World(home, settings, admit, self._cluster, authority, platform)
        self.changed: Callable[[], None] = lambda: None
        self._wake = asyncio.Event()
        self._workloads: dict[str, Workload] = {}
        self._turns: dict[str, asyncio.Lock] = {}
        self._places = asyncio.Semaphore(AT_ONCE)
        self._seen: dict[str, Object] = {}
        self._away, self._tended, self._written = "", 0.0, 0.0
        self._unwritten, self._measured = True, 0.0
        self._used: dict[str, ResourceUsage] = {}
        self._found, self._known, self._file = False, False, home.run / "kubernetes.json"
        self._selector = f"{PLATFORM}={self._world.platform}"
        pods = f"{self._selector},{REVISION}"
        self._pods = Reflector(self._cluster, "v1", "Pod", pods, self._wake.set, _pod)
        self._deployments = Reflector(self._cluster, "apps/v1", "Deployment", pods, self._wake.set, _numbers)
        self._tasks: list[asyncio.Task[None]] = []
        self._denied = False
        self._cordons = True  # an earlier platform may have left some

    # What these do stands in `base.Target`.

    async def adopt(self) -> int:
        """Find what runs in the cluster, and supervise from now on. Where it is away, what was there when this was
        written down last is taken to be there still."""
        self._world.ends.load()
        self._tasks = [asyncio.create_task(each.run()) for each in (self._pods, self._deployments)]
        try:
            await self._find(FIRST)
        except ArgosyError as error:
            self._away = error.message
            LOG.warning("the cluster is asked again: %s", error.message)
            with contextlib.suppress(OSError, msgspec.MsgspecError):
                kept = msgspec.json.decode(self._file.read_bytes(), type=list[tuple[Revision, RevisionStatus]])
                for revision, status in kept:
                    found = self._workloads[revision.id] = Workload(revision, self._world)
                    found.status = msgspec.structs.replace(status, pending=self._away)
                self._known = True
        self._tasks.append(asyncio.create_task(self._supervise()))
        return sum(len(each.status.replicas) for each in self._workloads.values())

    async def _find(self, seconds: float = SYNC) -> None:
        """Take over what is there, once all of it is known. Raises what the cluster raises."""
        try:
            async with asyncio.timeout(seconds):
                configs = await self._cluster.list("v1", "ConfigMap", self._selector)
                while not (self._pods.synced and self._deployments.synced):
                    if problem := self._pods.problem or self._deployments.problem:
                        raise Unavailable(problem)
                    await asyncio.sleep(PAUSE)
        except TimeoutError:
            raise Unavailable(f"{self._cluster.server} does not say what runs there") from None
        for each in configs:
            if revision := revision_in(each):
                found = self._workloads.setdefault(revision.id, Workload(revision, self._world))
                found.owner = each
        self._look()
        for found in self._workloads.values():
            found.adopt()
            found.tell("")
        known = {objects.label(each.revision.endpoint) for each in self._workloads.values()}
        for each in configs:
            labels = each["metadata"]["labels"]
            if REVISION not in labels and labels.get(ENDPOINT) not in known:  # a stop in the middle left it
                await self._cluster.delete("v1", "ConfigMap", each["metadata"]["name"])
        self._found, self._known, self._away, self._tended = True, True, "", 0.0
        self.changed()

    async def revisions(self) -> list[Revision]:
        return [each.revision for each in self._workloads.values()]

    async def scale(self, revision: Revision, replicas: int) -> None:
        if revision.id not in self._workloads and replicas:
            made = self._workloads[revision.id] = Workload(revision, self._world)
            made.status = RevisionStatus(pending=self._away)
        if found := self._workloads.get(revision.id):
            found.scale(replicas)
            self._wake_for(found)

    async def endpoints(self, revision: str) -> RevisionStatus:
        found = self._workloads.get(revision)
        return found.status if found else RevisionStatus()

    async def remove(self, revision: str) -> None:
        if (found := self._workloads.get(revision)) and not found.leaving:
            found.remove()
            self._wake_for(found)

    async def release(self, replicas: Collection[str]) -> None:
        for found in self._workloads.values():
            found.release(replicas)
            self._wake_for(found)

    async def retry(self, revision: str) -> None:
        if found := self._workloads.get(revision):
            found.retry()
            self._wake_for(found)

    async def vacate(self, hosts: Collection[str]) -> dict[str, int]:
        """The nodes are cordoned, where the platform may do that: it needs the right to list and patch nodes."""
        if self._world.leaving != frozenset(hosts):
            self._world.leaving = frozenset(hosts)
            for each in self._workloads.values():
                each.dirty = True
            self._wake.set()
        if hosts or self._cordons:
            try:
                await self._cordon(hosts)
            except PermissionDenied as error:
                if hosts and not self._denied:
                    self._denied = True
                    LOG.warning("nodes that leave are not cordoned: %s", error.message)
            self._cordons = bool(hosts)
        pods = [pod for each in self._workloads.values() for pod in each.pods.values() if not pod.over]
        return {host: sum(host in (pod.node, pod.host) for pod in pods) for host in hosts}

    async def _cordon(self, hosts: Collection[str]) -> None:
        """Have nothing scheduled on these nodes, and no others."""
        for node in await self._cluster.list("v1", "Node"):
            metadata = node["metadata"]
            addresses = {each.get("address") for each in node.get("status", {}).get("addresses", ())}
            leaves = not {metadata["name"], *addresses}.isdisjoint(hosts)
            if leaves != any(each.get("manager") == CORDON for each in metadata.get("managedFields", ())):
                only = {"name": metadata["name"], "uid": metadata["uid"]}  # which never makes one
                spec = {"spec": {"unschedulable": True}} if leaves else {}
                await self._cluster.apply({"apiVersion": "v1", "kind": "Node", "metadata": only} | spec, manager=CORDON)

    def log(self, replica: str, lines: int, *, follow: bool) -> AsyncIterator[bytes] | None:
        known = any(pod.name == replica for each in self._workloads.values() for pod in each.pods.values())
        return self._cluster.log(replica, "replica", lines, follow=follow) if known else None

    async def usage(self) -> dict[str, ResourceUsage]:
        """What the cluster's own metrics say, where it has them; seconds of processors since they were asked first."""
        now = time.monotonic()
        if now < self._measured + METRICS_SECONDS or self._away:
            return self._used
        seconds, self._measured = now - self._measured, now
        try:
            async with asyncio.timeout(PATIENCE):
                found = await self._cluster.list(METRICS, "Pod", f"{self._selector},{REVISION}")
        except (ArgosyError, TimeoutError):  # few clusters lack them, and nothing depends on it
            found, self._used = [], {}
        before = self._used
        self._used = {}
        for each in found:
            name, (cores, memory) = each["metadata"]["name"], used(each)
            spent = before[name].cpu + cores * seconds if name in before else 0.0
            self._used[name] = ResourceUsage(cpu=spent, memory=memory)
        return self._used

    def away(self) -> dict[str, Away]:
        return {"kubernetes": Away(self._away, blank=not self._known)} if self._away else {}

    def ends(self) -> dict[str, Ends]:
        return self._world.ends.found

    async def capacity(self) -> Capacity:
        """Unbounded: the cluster decides, and `pending` says what it lacks."""
        return Capacity()

    async def stop(self) -> None:
        """See `base.Target`. A cluster that is away, or refuses it, keeps what it has."""
        good = time.monotonic() if self._known else -SLOWEST
        while self._workloads:
            for each in self._workloads.values():
                if not each.leaving:
                    each.remove()
                each.release([pod.name for pod in each.pods.values()])
            self._wake.set()
            if not self._away and not all(each.error for each in self._workloads.values()):
                good = time.monotonic()
            elif time.monotonic() - good > SLOWEST:
                why = self._away or next(iter(self._workloads.values())).error
                where = f"-n {self._cluster.namespace} -l {self._selector}"
                LOG.error("what runs in the cluster goes on: %s; kubectl delete configmap %s  deletes it", why, where)
                break
            await asyncio.sleep(0.1)
        else:
            self._file.unlink(missing_ok=True)
        await self.close()

    async def close(self) -> None:
        steps = [each.task for each in self._workloads.values() if each.task is not None]
        for task in (*self._tasks, *steps):
            task.cancel()
        await asyncio.gather(*self._tasks, *steps, return_exceptions=True)
        await self._cluster.close()

    def _wake_for(self, found: Workload) -> None:
        if found.dirty:
            self._wake.set()

    async def _supervise(self) -> None:
        while True:
            self._wake.clear()
            soon = False
            try:
                if not self._found:
                    await self._find()
                soon = self._round()
                self._write()
                if time.monotonic() - self._tended >= TEND_SECONDS:
                    self._tended = time.monotonic()
                    await self._tend()
            except ArgosyError as error:
                if self._found:
                    LOG.warning("the cluster is asked again: %s", error.message)
                else:
                    self._miss(error.message)
            except Exception:
                LOG.exception("supervision failed; it goes on in a moment")
            await asyncio.sleep(PAUSE)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(UNREACHED if soon else TICK):
                    await self._wake.wait()

    def _miss(self, why: str) -> None:
        """Say why it is not known what the cluster has."""
        if why != self._away:
            LOG.warning("the cluster is asked again: %s", why)
            self._away = why
            for each in self._workloads.values():
                each.status = msgspec.structs.replace(each.status, pending=why)
            self.changed()

    def _round(self) -> bool:
        """Tell what is new, and begin what is to be done. Whether to come back soon."""
        self._look()
        away, now = self._pods.problem or self._deployments.problem, time.monotonic()
        heard, self._away = away != self._away, away
        different = False
        for key, found in list(self._workloads.items()):
            if found.gone:
                del self._workloads[key]
                shutil.rmtree(self._world.folder(found.revision), ignore_errors=True)
                different = True
                continue
            if heard or found.dirty or found.status.pending:
                different |= found.tell(away)
            if found.due(now):
                found.task = asyncio.create_task(self._step(found))
        if different:
            self._unwritten = True
            self.changed()
        return any(each.unreached for each in self._workloads.values())

    def _look(self) -> None:
        """Take up what the cluster says that is new."""
        here, seen, now = self._pods.objects, self._seen, time.monotonic()
        for name in seen.keys() - here.keys():
            self._see(seen.pop(name), None)
        for name, each in here.items():
            if (before := seen.get(name)) is not each:
                seen[name] = each
                self._see(before, each)
        for found in self._workloads.values():
            found.see_deployment(self._deployments.objects.get(found.name), now)

    def _see(self, before: Object | None, now: Object | None) -> None:
        was, is_ = (each["pod"] if each else None for each in (before, now))
        pod: Pod | None = is_ or was
        if pod is not None and (found := self._workloads.get(pod.revision)):
            found.see(was, is_)

    async def _step(self, found: Workload) -> None:
        endpoint = found.revision.endpoint

        def last() -> bool:
            others = (each for each in self._workloads.values() if each is not found and not each.gone)
            return all(each.revision.endpoint != endpoint for each in others)

        try:
            async with self._places:
                await found.step(last, self._turns.setdefault(endpoint, asyncio.Lock()))
        except ArgosyError as error:
            found.fail(error, time.monotonic())
        except Exception as error:
            LOG.exception("revision %s of '%s'", found.revision.id, endpoint)
            found.fail(Internal(f"{type(error).__name__}: {error}"), time.monotonic())
        finally:
            found.task = None
            if found.tell(self._away):
                self._unwritten = True
                self.changed()
            self._wake.set()

    def _write(self) -> None:
        """Keep what is there for whoever starts while the cluster is away."""
        now = time.monotonic()
        if self._unwritten and now - self._written >= WRITE_SECONDS:
            self._unwritten = False
            kept = [(each.revision, each.status) for each in self._workloads.values() if each.status.replicas]
            say(self._file, msgspec.json.encode(kept))
            self._written = now + 20 * (time.monotonic() - now)  # the more there is, the more seldom

    async def _tend(self) -> None:
        """Renew certificates."""
        tended = [each for each in self._workloads.values() if each.owner is not None and not each.leaving]
        try:
            made = await asyncio.to_thread(self._world.certificates, [each.revision for each in tended])
            for each, data in zip(tended, made, strict=True):
                await each.renew(data)
        except (ArgosyError, OSError) as error:
            LOG.error("certificates of pods cannot be renewed, and are tried again: %s", error)


def _pod(found: Object) -> Object:
    """What is kept of a pod."""
    return {"pod": look(found)}


def _numbers(found: Object) -> Object:
    """What is kept of a Deployment."""
    metadata, spec = found["metadata"], found.get("spec", {})
    kept = {"metadata": {name: metadata.get(name, "") for name in ("resourceVersion", "uid")}}
    kept |= {"spec": {"replicas": spec.get("replicas", 1)}}
    return kept | {"status": {"conditions": found.get("status", {}).get("conditions", [])}}
