"""A kubelet whose pods are processes of this machine, each with a loopback address of its own.

    python -m tests.kubernetes.kubelet NAME URL AUTHORITY CERTIFICATE KEY FOLDER NETWORK IMAGES

It registers the node NAME, renews its Lease, and runs what the scheduler binds to it: init containers and sidecars,
volumes, environment, restarts, probes, preStop, SIGTERM, the grace period. NETWORK is like 127.60.1. Images are not
unpacked: IMAGES is a file of JSON, reference -> {"entrypoint": [...], "env": {...}, "paths": {"/in/it": "/here"},
"folder": "what an image volume of it shows"}, all of which may be left out.
A process sees the machine's files: in arguments, environment and ConfigMaps, paths of mounts are replaced by where
those folders are, and 0.0.0.0 by the pod's address. What cannot be done is told in the container's status.
EndpointSlices refuse loopback addresses, so that Services of such pods lead nowhere.
"""

import asyncio
import contextlib
import datetime
import json
import re
import signal
import ssl
import sys
from pathlib import Path

import httpx

from tests.kubernetes.containers import Container, Object, Unusable, second

RENEWAL = 2.0
"""Seconds between renewals of the Lease."""
STRATEGIC = {"content-type": "application/strategic-merge-patch+json"}
MERGE = {"content-type": "application/merge-patch+json"}


class Pod:
    """A pod that is bound to the node, from its first sight until it is deleted."""

    def __init__(self, kubelet: "Kubelet", seen: Object, address: str) -> None:
        self.kubelet, self.address = kubelet, address
        self.spec, self.metadata = seen["spec"], seen["metadata"]
        self.uid, self.name = self.metadata["uid"], self.metadata["name"]
        self.path = f"/api/v1/namespaces/{self.metadata['namespace']}/pods/{self.name}"
        self.folder = kubelet.folder / f"{self.name}-{self.uid}"
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
        self._places = {"0.0.0.0": address}
        for container in (*self.inits, *self.containers):
            self._places |= container.image.get("paths", {})

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
            await self.kubelet.ask("DELETE", self.path, json=options)
        finally:
            work.cancel()
            for container in (*self.inits, *self.containers):
                container.kill()

    async def _work(self) -> None:
        while not await self._mounted():
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self.stop_asked.wait(), 0.5)
            if self.stopping:
                return
        async with asyncio.TaskGroup() as group:
            for container in self.inits:
                task = group.create_task(container.run())
                await (container.started.wait() if container.policy == "Always" else task)
            for container in self.containers:
                group.create_task(container.run())
        await self.post()

    async def _mounted(self) -> bool:
        """Make its volumes; False, told in the status, where that is not possible now."""
        specs = [*self.spec.get("initContainers", []), *self.spec["containers"]]
        paths = {mount["name"]: mount["mountPath"] for each in specs for mount in each.get("volumeMounts", [])}
        contents: dict[Path, dict[str, str]] = {}
        try:
            for volume in self.spec.get("volumes", []):
                place = self.folder / "volumes" / volume["name"]
                match volume:
                    case {"emptyDir": _} | {"projected": _}:
                        pass
                    case {"configMap": {"name": name}}:
                        contents[place] = await self.config_map(name)
                    case {"image": {"reference": reference}} if reference in self.kubelet.images:
                        place = Path(self.kubelet.images[reference]["folder"])
                    case _:
                        raise Unusable(f"this kubelet cannot mount {volume}")
                place.mkdir(parents=True, exist_ok=True)
                if volume["name"] in paths:
                    self._places[paths[volume["name"]]] = str(place)
        except Unusable as error:
            for container in self.containers:
                container.state = {"waiting": {"reason": "ContainerCreating", "message": str(error)}}
            await self.post()
            return False
        for place, files in contents.items():
            for name, text in files.items():
                (place / name).write_text(self.mapped(text))
        return True

    def mapped(self, text: str) -> str:
        """A text in which paths of mounts, and the address of all interfaces, are what they are here."""
        known = sorted(map(re.escape, self._places), key=len, reverse=True)
        return re.sub(rf"(?<![\w./-])({'|'.join(known)})(?![\w.-])", lambda found: self._places[found[1]], text)

    async def config_map(self, name: str) -> dict[str, str]:
        """The texts of a ConfigMap of its namespace."""
        answer = await self.kubelet.ask("GET", f"{self.path.rpartition('/pods/')[0]}/configmaps/{name}")
        if answer.status_code != 200:
            raise Unusable(answer.json()["message"])
        return answer.json().get("data", {})

    def fields(self) -> dict[str, str]:
        """What `fieldRef` can name."""
        told = {f"metadata.{each}": self.metadata[each] for each in ("name", "namespace", "uid")}
        return told | {"status.podIP": self.address, "status.hostIP": "127.0.0.1", "spec.nodeName": self.kubelet.name}

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
            await self.kubelet.ask("PATCH", f"{self.path}/status", content=body, headers=STRATEGIC)

    def _phase(self, statuses: list[Object]) -> str:
        codes = [each["state"]["terminated"]["exitCode"] for each in statuses if "terminated" in each["state"]]
        if len(codes) == len(statuses) and (self.stopping or self.policy != "Always"):
            return "Failed" if any(codes) else "Succeeded"
        return "Running" if any(container.process for container in self.containers) else "Pending"


class Kubelet:
    """A node: its registration, its Lease, and the pods that are bound to it."""

    def __init__(
        self, name: str, api: httpx.AsyncClient, folder: Path, network: str, images: dict[str, Object]
    ) -> None:
        self.name, self.folder, self.images = name, folder, images
        self.plain = httpx.AsyncClient(trust_env=False)
        self._api = api
        self._network = network
        self._number = 0
        self._pods: dict[str, Pod] = {}

    async def ask(self, method: str, path: str, **what: object) -> httpx.Response:
        """The API's answer, whatever it is; again until there is one."""
        while True:
            try:
                return await self._api.request(method, path, **what)  # pyright: ignore
            except httpx.TransportError as error:
                print(f"{method} {path}: {error!r}", flush=True)
                await asyncio.sleep(0.5)

    async def run(self) -> None:
        """Be a node until cancelled."""
        metadata = {"name": self.name, "labels": {"kubernetes.io/hostname": self.name}}
        answer = await self.ask("POST", "/api/v1/nodes", json={"metadata": metadata, "status": self._status()})
        if answer.status_code != 409:
            answer.raise_for_status()
        async with asyncio.TaskGroup() as group:
            group.create_task(self._renew())
            group.create_task(self._follow(group))

    def _status(self) -> Object:
        size = {"cpu": "64", "memory": "256Gi", "pods": "250", "nvidia.com/gpu": "8"}
        ready = {"type": "Ready", "status": "True", "reason": "KubeletReady", "lastHeartbeatTime": second()}
        addresses = [{"type": "InternalIP", "address": "127.0.0.1"}]
        return {"capacity": size, "allocatable": size, "conditions": [ready], "addresses": addresses}

    async def _renew(self) -> None:
        leases = "/apis/coordination.k8s.io/v1/namespaces/kube-node-lease/leases"
        while True:
            now = datetime.datetime.now(datetime.UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
            spec = {"holderIdentity": self.name, "leaseDurationSeconds": 10, "renewTime": now}
            body = json.dumps({"spec": spec})
            renewed = await self.ask("PATCH", f"{leases}/{self.name}", content=body, headers=MERGE)
            if renewed.status_code == 404:
                await self.ask("POST", leases, json={"metadata": {"name": self.name}, "spec": spec})
            body = json.dumps({"status": self._status()})
            await self.ask("PATCH", f"/api/v1/nodes/{self.name}/status", content=body, headers=STRATEGIC)
            await asyncio.sleep(RENEWAL)

    async def _follow(self, group: asyncio.TaskGroup) -> None:
        """List the node's pods and watch what changes; again from the list whenever the watch ends."""
        chosen = {"fieldSelector": f"spec.nodeName={self.name}"}
        while True:
            listed = (await self.ask("GET", "/api/v1/pods", params=chosen)).raise_for_status().json()
            for gone in self._pods.keys() - {each["metadata"]["uid"] for each in listed["items"]}:
                self._pods[gone].stop(0)
            for each in listed["items"]:
                self._see(group, "MODIFIED", each)
            watch = chosen | {"watch": "1", "resourceVersion": listed["metadata"]["resourceVersion"]}
            try:
                async with self._api.stream("GET", "/api/v1/pods", params=watch, timeout=60) as stream:
                    async for line in stream.aiter_lines():
                        event = json.loads(line)
                        if event["type"] == "ERROR":
                            break
                        self._see(group, event["type"], event["object"])
            except httpx.TransportError as error:
                print(f"the watch of pods: {error!r}", flush=True)

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
    name: str, url: str, authority: str, certificate: str, key: str, folder: str, network: str, images: str
) -> None:
    """Be a node until SIGTERM, which kills its pods with it."""
    context = ssl.create_default_context(cafile=authority)
    context.load_cert_chain(certificate, key)
    async with httpx.AsyncClient(base_url=url, verify=context, trust_env=False, timeout=30) as api:
        kubelet = Kubelet(name, api, Path(folder), network, json.loads(Path(images).read_text()))
        work = asyncio.create_task(kubelet.run())
        asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, work.cancel)
        with contextlib.suppress(asyncio.CancelledError):
            await work
        await kubelet.plain.aclose()


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
