"""A kubelet whose pods are processes of this machine, each with an address of its own.

    python -m tests.kubernetes.kubelet NAME URL AUTHORITY CERTIFICATE KEY FOLDER NETWORK RESOLVER CAPACITY

It registers the node NAME, renews its Lease, and runs what the scheduler binds to it: init containers and sidecars,
volumes, environment, restarts, probes, preStop, SIGTERM, the grace period. NETWORK is like 10.200.16; where RESOLVER is
an address, names of Services are known in its pods, which then have mounts of their own. CAPACITY, in JSON, is laid
over what the node has. Images are not unpacked: FOLDER/images.json, which may change meanwhile, has reference ->
{"entrypoint": [...], "env": {...}, "paths": {"/in/it": "/here"}, "folder": "what an image volume of it shows",
"pull": seconds that it takes, "error": why it cannot be pulled, "oom_after": seconds until its containers have taken
too much memory}, all of which may be left out; an image that is not there cannot be pulled.
A process sees the machine's files and its user is the kubelet's: in arguments, environment, Secrets and ConfigMaps,
paths of mounts are replaced by where those folders are, and 0.0.0.0 by the pod's address. NetworkPolicies, users,
read-only roots and limits are not enforced. What cannot be done is told in the container's status.
"""

import asyncio
import contextlib
import datetime
import json
import sys
from pathlib import Path

import httpx

from tests.kubernetes.api import MERGE, STRATEGIC, Api, Object, connected, until_ended
from tests.kubernetes.containers import Container, replaced, second
from tests.kubernetes.volumes import Objects, Unusable, Volumes

REFRESH = 1.0
"""Seconds after which the files of a volume are what its objects are; a real kubelet takes up to a minute."""
RENEWAL = 2.0
"""Seconds between renewals of the Lease."""


class Pod:
    """A pod that is bound to the node, from its first sight until it is deleted."""

    def __init__(self, kubelet: "Kubelet", seen: Object, address: str) -> None:
        self.kubelet, self.address = kubelet, address
        self.spec, self.metadata = seen["spec"], seen["metadata"]
        self.uid, self.name = self.metadata["uid"], self.metadata["name"]
        self.namespaced = f"/api/v1/namespaces/{self.metadata['namespace']}"
        self.path = f"{self.namespaced}/pods/{self.name}"
        self.folder = kubelet.folder / f"{self.name}-{self.uid}"
        self.volumes = Volumes(self)
        self.grace = float(self.spec.get("terminationGracePeriodSeconds", 30))
        self.policy = self.spec.get("restartPolicy", "Always")
        once = "Never" if self.policy == "Never" else "OnFailure"
        inits = self.spec.get("initContainers", [])
        self.inits = [Container(self, each, each.get("restartPolicy", once)) for each in inits]
        self.containers = [Container(self, each, self.policy) for each in self.spec["containers"]]
        self.stop_asked = asyncio.Event()
        self._began = second()
        self._since: dict[str, tuple[bool, str]] = {}
        self._posting = asyncio.Lock()

    @property
    def stopping(self) -> bool:
        return self.stop_asked.is_set()

    def stop(self, grace: float) -> None:
        """Ask for its end within so many seconds; only a shorter time than before counts again."""
        if not self.stopping:
            self.grace = grace
            self.stop_asked.set()
        elif grace == 0:
            for container in (*self.inits, *self.containers):
                container.kill()

    async def run(self) -> None:
        """Run its containers until it is deleted; then take it out of the API."""
        self.folder.mkdir(parents=True, exist_ok=True)
        own = self.metadata["namespace"]
        searched = f"search {own}.svc.cluster.local svc.cluster.local cluster.local\noptions ndots:5\n"
        (self.folder / "resolv.conf").write_text(f"nameserver {self.kubelet.resolver}\n{searched}")
        work = asyncio.create_task(self._work())
        try:
            await asyncio.wait([work, asyncio.create_task(self.stop_asked.wait())], return_when=asyncio.FIRST_COMPLETED)
            if work.done():
                work.result()
            await self.stop_asked.wait()
            await asyncio.gather(*(container.end(self.grace) for container in self.containers))
            await asyncio.gather(*(container.end(self.grace) for container in self.inits))
            await work
            await self.post()
            options = {"gracePeriodSeconds": 0, "preconditions": {"uid": self.uid}}
            await self.kubelet.api.ask("DELETE", self.path, json=options)
        finally:
            work.cancel()
            self.kubelet.objects.forget(self)
            for container in (*self.inits, *self.containers):
                container.kill()

    async def _work(self) -> None:
        while not await self._mounted():
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self.stop_asked.wait(), 0.5)
            if self.stopping:
                return
        refreshed = asyncio.create_task(self._refresh())
        try:
            async with asyncio.TaskGroup() as group:
                for container in self.inits:
                    task = group.create_task(container.run())
                    await (container.started.wait() if container.policy == "Always" else task)
                for container in self.containers:
                    group.create_task(container.run())
        finally:
            refreshed.cancel()
        await self.post()

    async def _refresh(self) -> None:
        while self.volumes.followed():
            await asyncio.sleep(REFRESH)
            with contextlib.suppress(Unusable):  # what is gone stays as it was
                await self.volumes.make()

    async def _mounted(self) -> bool:
        """Make its volumes; False, told in the status, where that is not possible now."""
        try:
            await self.volumes.make()
        except Unusable as error:
            for container in self.containers:
                container.state = {"waiting": {"reason": "ContainerCreating", "message": str(error)}}
            await self.post()
            return False
        return True

    def rewritten(self, content: bytes) -> bytes:
        """The content of a file in which paths of mounts are what they are here."""
        places: dict[str, str] = {}
        for container in (*self.containers, *self.inits):
            places = container.places() | places
        try:
            return replaced(content.decode(), places).encode()
        except UnicodeDecodeError:
            return content

    def fields(self) -> dict[str, str]:
        """What `fieldRef` can name."""
        told = {f"metadata.{each}": self.metadata[each] for each in ("name", "namespace", "uid")}
        told |= {"status.podIP": self.address, "status.podIPs": self.address, "status.hostIP": "127.0.0.1"}
        told |= {"spec.nodeName": self.kubelet.name}
        told |= {"spec.serviceAccountName": self.spec.get("serviceAccountName", "default")}
        for kind in ("labels", "annotations"):
            told |= {f"metadata.{kind}['{name}']": value for name, value in self.metadata.get(kind, {}).items()}
        return told

    async def post(self) -> None:
        """Write its status as it is now; nothing happens where the pod is gone."""
        async with self._posting:
            statuses = [container.status() for container in self.containers]
            inits = [container.status() for container in self.inits]
            ready = all("running" in each["state"] and each["ready"] for each in statuses)
            initialized = all(each["started"] or "terminated" in each["state"] for each in inits)
            gates = {"PodReadyToStartContainers": True, "Initialized": initialized}
            for name, value in (gates | {"ContainersReady": ready, "Ready": ready}).items():
                if self._since.get(name, (None, ""))[0] != value:
                    self._since[name] = (value, second())
            conditions = [
                {"type": name, "status": str(value), "lastTransitionTime": since}
                for name, (value, since) in self._since.items()
            ]
            status = {"phase": self._phase(statuses), "conditions": conditions, "startTime": self._began}
            status |= {"hostIP": "127.0.0.1", "podIP": self.address, "podIPs": [{"ip": self.address}]}
            status |= {"containerStatuses": statuses, "initContainerStatuses": inits}
            body = json.dumps({"metadata": {"uid": self.uid}, "status": status})
            await self.kubelet.api.ask("PATCH", f"{self.path}/status", content=body, headers=STRATEGIC)

    def told_otherwise(self, seen: Object) -> bool:
        """Whether others have written that it is not ready, and it is."""
        told = {each["type"]: each["status"] for each in seen["status"].get("conditions", [])}
        return told.get("Ready") == "False" and self._since.get("Ready", (False, ""))[0]

    def _phase(self, statuses: list[Object]) -> str:
        codes = [each["state"]["terminated"]["exitCode"] for each in statuses if "terminated" in each["state"]]
        if len(codes) == len(statuses) and (self.stopping or self.policy != "Always"):
            return "Failed" if any(codes) else "Succeeded"
        return "Running" if any(container.process for container in self.containers) else "Pending"


class Kubelet:
    """A node: its registration, its Lease, and the pods that are bound to it."""

    def __init__(
        self, name: str, api: Api, folder: Path, network: str, resolver: str, master: tuple[str, str], capacity: Object
    ) -> None:
        self.name, self.api, self.folder, self.resolver = name, api, folder, resolver
        self.master = master
        """Host and port of the API server, as pods are told them."""
        self.objects = Objects()
        self.plain = httpx.AsyncClient(trust_env=False, verify=False)
        self._capacity = {"cpu": "64", "memory": "256Gi", "pods": "250", "nvidia.com/gpu": "8"} | capacity
        self._network = network
        self._number = 0
        self._pods: dict[str, Pod] = {}
        self._images: tuple[int, dict[str, Object]] = (0, {})
        self._present: set[str] = set()

    def image(self, reference: str) -> Object | None:
        """What is known of an image now."""
        file = self.folder / "images.json"
        changed = file.stat().st_mtime_ns
        if self._images[0] != changed:
            self._images = (changed, json.loads(file.read_text()))
        return self._images[1].get(reference)

    async def pull(self, reference: str, policy: str | None) -> tuple[str, str] | None:
        """Have an image here; why that is not possible now: a reason and a message, in a kubelet's words."""
        latest = ":" not in reference.rpartition("/")[2] or reference.endswith(":latest")
        policy = policy or ("Always" if latest and "@" not in reference else "IfNotPresent")
        if reference in self._present and policy != "Always":
            return None
        if policy == "Never":
            return "ErrImageNeverPull", f'Container image "{reference}" is not present with pull policy of Never'
        entry = self.image(reference)
        if entry is None or "error" in entry:
            why = (entry or {}).get("error", "not found")
            return "ErrImagePull", (
                f'failed to pull and unpack image "{reference}": failed to resolve reference "{reference}": {why}'
            )
        if reference not in self._present:
            await asyncio.sleep(entry.get("pull", 0))
            self._present.add(reference)
        return None

    async def run(self) -> None:
        """Be a node until cancelled."""
        metadata = {"name": self.name, "labels": {"kubernetes.io/hostname": self.name}}
        answer = await self.api.ask("POST", "/api/v1/nodes", json={"metadata": metadata, "status": self._status()})
        if answer.status_code != 409:
            answer.raise_for_status()
        async with asyncio.TaskGroup() as group:
            group.create_task(self._renew())
            group.create_task(self._follow(group))

    def _status(self) -> Object:
        size = self._capacity
        ready = {"type": "Ready", "status": "True", "reason": "KubeletReady", "lastHeartbeatTime": second()}
        addresses = [{"type": "InternalIP", "address": "127.0.0.1"}]
        return {"capacity": size, "allocatable": size, "conditions": [ready], "addresses": addresses}

    async def _renew(self) -> None:
        leases = "/apis/coordination.k8s.io/v1/namespaces/kube-node-lease/leases"
        while True:
            now = datetime.datetime.now(datetime.UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
            spec = {"holderIdentity": self.name, "leaseDurationSeconds": 10, "renewTime": now}
            body = json.dumps({"spec": spec})
            renewed = await self.api.ask("PATCH", f"{leases}/{self.name}", content=body, headers=MERGE)
            if renewed.status_code == 404:
                await self.api.ask("POST", leases, json={"metadata": {"name": self.name}, "spec": spec})
            body = json.dumps({"status": self._status()})
            await self.api.ask("PATCH", f"/api/v1/nodes/{self.name}/status", content=body, headers=STRATEGIC)
            await asyncio.sleep(RENEWAL)

    async def _follow(self, group: asyncio.TaskGroup) -> None:
        def listed(found: list[Object]) -> None:
            for gone in self._pods.keys() - {each["metadata"]["uid"] for each in found}:
                self._pods[gone].stop(0)
            for each in found:
                self._see(group, "MODIFIED", each)

        chosen = {"fieldSelector": f"spec.nodeName={self.name}"}
        await self.api.follow("/api/v1/pods", chosen, listed, lambda kind, seen: self._see(group, kind, seen))

    def _see(self, group: asyncio.TaskGroup, kind: str, seen: Object) -> None:
        metadata = seen["metadata"]
        pod = self._pods.get(metadata["uid"])
        if pod is None and kind != "DELETED" and seen["status"].get("phase") in (None, "Pending", "Running"):
            pod = self._pods[metadata["uid"]] = Pod(self, seen, self._address())
            group.create_task(self._run(pod))
        if pod is not None and kind == "DELETED":
            pod.stop(0)
        elif pod is not None and "deletionTimestamp" in metadata:
            pod.stop(float(metadata.get("deletionGracePeriodSeconds", 30)))
        elif pod is not None and pod.told_otherwise(seen):  # as of a node that was silent
            group.create_task(pod.post())

    def _address(self) -> str:
        taken = {pod.address for pod in self._pods.values()}
        while True:
            self._number = self._number % 250 + 1
            if (address := f"{self._network}.{self._number}") not in taken:
                return address

    async def _run(self, pod: Pod) -> None:
        try:
            await pod.run()
        finally:
            del self._pods[pod.uid]


async def main(
    name: str, url: str, authority: str, certificate: str, key: str, folder: str, network: str, resolver: str,
    capacity: str,
) -> None:  # fmt: skip
    """Be a node until SIGTERM, which kills its pods with it."""
    master = (
        (f"{resolver.rpartition('.')[0]}.1", "443") if resolver else (httpx.URL(url).host, str(httpx.URL(url).port))
    )
    async with connected(url, authority, certificate, key) as api:
        kubelet = Kubelet(name, api, Path(folder), network, resolver, master, json.loads(capacity))
        await until_ended(kubelet.run())
        await kubelet.plain.aclose()


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
