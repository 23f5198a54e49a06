"""`python -m prove.cluster`: a declaration moves from this machine to a cluster under load; then rollouts and
evictions, one after the other. No request may fail.

Everything is real but containers: etcd, API server, scheduler and controllers of Kubernetes, Envoy, the platform, the
replicas, which are processes of this machine (`tests/kubernetes/kubelet.py`), and callers that send their next request
upon the last answer. `make demo-cluster` is this with one rollout and one eviction, and it stays up until Ctrl-C.
"""

import argparse
import asyncio
import json
import random
import signal
import sys
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import httpx

from argosy.spec.settings import Home, Settings
from argosy.store import open_store
from argosy.targets.kubernetes.objects import REVISION
from tests.kubernetes import programs
from tests.kubernetes.plane import Plane
from tests.platform.packages import push
from tests.platform.up import Load, Up, clear

NODES = ("node-a", "node-b")
PATIENCE = 120.0
NAME = "digits"
DECLARED: Mapping[str, Any] = {"model": "digits:1", "replicas": 2, "runtime": {"drain_timeout": 5, "threads": 1}}
"""The declaration that runs here and there."""


class Proof:
    """A platform whose endpoint lives in a cluster. `wrong` is whatever went wrong."""

    def __init__(self, plane: Plane, namespace: str, platform: Up, seed: int = 0) -> None:
        self.plane, self.platform, self.chance = plane, platform, random.Random(seed)
        self.pods = f"/api/v1/namespaces/{namespace}/pods"
        self.version = 1
        self.wrong: list[str] = []
        self.took: dict[str, list[float]] = {"rollout": [], "eviction": []}

    async def run(self, rollouts: int, evictions: int) -> Load:
        """Move, roll out, evict; the load that was there."""
        deployed = await self._call("PUT", "", DECLARED, wait=60)
        async with Load(deployed["url"], deployed["key"], clients=6) as load:
            await load.more()
            self._say(f"{NAME}:1 runs on this machine, and answers")
            await self._roll_out("target: kubernetes", target="kubernetes")
            for number in range(max(rollouts, evictions)):
                if number < rollouts:
                    self.version = 3 - self.version
                    await self._roll_out(f"model: {NAME}:{self.version}", target="kubernetes")
                if number < evictions:
                    await self._evict()
                await load.more()
                print(f"{load.good:,} requests answered, {len(load.bad)} failed", flush=True)
        self.wrong += load.bad
        return load

    async def _roll_out(self, what: str, **more: Any) -> None:
        began = time.monotonic()
        declared = {**DECLARED, "model": f"{NAME}:{self.version}", **more}
        await self._call("PUT", "", declared)
        found = await self._settled(lambda status: status["state"] in ("ready", "failed"))
        if found["state"] != "ready" or found["serving"] != declared["model"]:
            self.wrong.append(f"{what}: {found['state']}: {found['reason']}")
        took = time.monotonic() - began
        self.took["rollout"].append(took)
        self._say(f"{what}: rolled out after {took:.1f} s")

    async def _evict(self) -> None:
        """Evict one pod that is ready, and wait until there are as many again."""
        began = time.monotonic()
        serving = (await self._call("GET", ""))["serving_revision"]
        pods = await asyncio.to_thread(self._ready, serving)
        name = self.chance.choice(sorted(pods))
        eviction = {"apiVersion": "policy/v1", "kind": "Eviction", "metadata": {"name": name}}
        replaced = asked = False
        while not replaced:
            if time.monotonic() > began + PATIENCE:
                self.wrong.append(f"{name} was evicted, and is not replaced: {await self._call('GET', '')}")
                return
            if not asked:  # until the disruption budget lets it go
                answer = await self._post(f"{self.pods}/{name}/eviction", eviction)
                asked = answer.status_code != 429
            await asyncio.sleep(0.1)
            found = await asyncio.to_thread(self._ready, serving)
            replaced = len(found) >= DECLARED["replicas"] and name not in found
        await self._settled(lambda status: status["ready"] >= DECLARED["replicas"])
        took = time.monotonic() - began
        self.took["eviction"].append(took)
        self._say(f"pod {name} was evicted, and replaced after {took:.1f} s")

    async def _post(self, path: str, body: object) -> httpx.Response:
        return await asyncio.to_thread(self.plane.client().post, path, json=body)

    def _ready(self, revision: str) -> set[str]:
        """The pods of a revision that are ready and not about to go."""
        params = {"labelSelector": f"{REVISION}={revision}"}
        items = self.plane.client().get(self.pods, params=params).raise_for_status().json()["items"]
        return {
            pod["metadata"]["name"]
            for pod in items
            if "deletionTimestamp" not in pod["metadata"]
            and any(
                each["type"] == "Ready" and each["status"] == "True" for each in pod["status"].get("conditions", [])
            )
        }

    async def _settled(self, good: Any) -> dict[str, Any]:
        end = time.monotonic() + PATIENCE
        while True:
            found: dict[str, Any] = await self._call("GET", "")
            if good(found) or time.monotonic() > end:
                return found
            await asyncio.sleep(0.1)

    async def _call(self, method: str, path: str, body: Any = None, **query: Any) -> Any:
        return await asyncio.to_thread(self.platform.call, method, f"/v1/endpoints/{NAME}{path}", body, **query)

    def _say(self, line: str) -> None:
        print(line, flush=True)


def fill(home: Home, plane: Plane, namespace: str) -> dict[str, dict[str, object]]:
    """Two versions, into a new store, and settings for the cluster; the images that its nodes find."""
    cluster = {"kubeconfig": str(plane.kubeconfig()), "namespace": namespace}
    cluster["image"] = "registry.example/{model}:{version}"
    home.config.write_text(json.dumps({"control": {"port": 0}, "gateway": {"port": 0}, "kubernetes": cluster}))
    image = {"entrypoint": [sys.executable, "-m", "argosy"], "env": {"ARGOSY_HOME": "/var/lib/argosy"}}
    store = open_store(home, Settings())
    images: dict[str, dict[str, object]] = {}
    for number in (1, 2):
        version = push(store, home.root / f"p{number}", float(number), name=NAME)
        package = store.unpacked(version.digest)
        images[f"registry.example/{NAME}:{number}"] = image | {"paths": {"/models": str(package)}}
    store.close()
    return images


def stay(home: Home) -> None:
    """Until Ctrl-C."""
    print(f"look around with  ARGOSY_HOME={home.root} argosy ps\nCtrl-C ends it", flush=True)
    try:
        while True:
            time.sleep(1)
    except KeyboardInterrupt:
        print()


def main() -> int:
    """Run; 1 where a request failed or something did not end well."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rollouts", type=int, default=20)
    parser.add_argument("--evictions", type=int, default=20)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--demo", action="store_true", help="one of each, then stay up")
    parser.add_argument("--once", action="store_true", help="with --demo: end by itself")
    options = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # all that was started ends with this
    if missing := programs.missing():
        sys.exit(f"not built: {', '.join(missing)}; run make kubernetes")
    rollouts, evictions = (1, 1) if options.demo else (options.rollouts, options.evictions)
    with tempfile.TemporaryDirectory(prefix="a") as folder:
        plane, home = Plane(Path(folder, "plane")), Home(Path(folder, "home")).create()
        try:
            plane.start()
            namespace = plane.namespace()
            images = fill(home, plane, namespace)
            with plane.node(NODES[0], images), plane.node(NODES[1], images):
                print("a control plane of Kubernetes runs, with two nodes", flush=True)
                platform = Up(home).ready()
                try:
                    proof = Proof(plane, namespace, platform, options.seed)
                    load = asyncio.run(proof.run(rollouts, evictions))
                    told = ", ".join(f"{len(times)} {what}s" for what, times in proof.took.items())
                    print(f"{told}, {load.good:,} requests answered, {len(load.bad)} failed", flush=True)
                    if options.demo and not options.once:
                        stay(home)
                finally:
                    platform.stop()
                    clear(home)
        finally:
            plane.stop()
    print(*proof.wrong, sep="\n")
    return 1 if proof.wrong else 0


if __name__ == "__main__":
    sys.exit(main())
