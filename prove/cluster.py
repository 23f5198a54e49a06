"""`python -m prove.cluster`: a declaration moves from this machine to a cluster under load; then rollouts, evictions
and kills of the controller, one after the other. No request may fail. With `--cold` and `--zero`: how long a first
answer takes after a declaration, and for an endpoint that has no replica.

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
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

import httpx

from argosy.spec.settings import Home, Settings
from argosy.store import open_store
from argosy.targets.kubernetes.objects import REVISION
from prove import pods
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
        self.took: dict[str, list[float]] = {each: [] for each in ("rollout", "eviction", "kill", "cold", "zero")}

    async def run(
        self, rollouts: int, evictions: int, kills: int = 0, cold: int = 0, zero: int = 0, away: float = 0.0
    ) -> Load:
        """Move, roll out, evict, kill, do without an API server; the load that was there. Then what takes its time
        without load."""
        deployed = await self._call("PUT", "", DECLARED, wait=60)
        async with Load(deployed["url"], deployed["key"], clients=6, pause=0.005) as load:
            await load.more()
            self._say(f"{NAME}:1 runs on this machine, and answers")
            await self._roll_out("target: kubernetes", target="kubernetes")
            for number in range(max(rollouts, evictions, kills)):
                if number < rollouts:
                    self.version = 3 - self.version
                    await self._roll_out(f"model: {NAME}:{self.version}", target="kubernetes")
                if number < evictions:
                    await self._evict()
                if number < kills:
                    await self._kill()
                await load.more()
                print(f"{load.good:,} requests answered, {len(load.bad)} failed", flush=True)
            if away:
                await self._away(away, load)
        self.wrong += load.bad
        for number in range(cold):
            await self._first_answer(f"cold-{number}")
        if zero:
            await self._from_zero(zero)
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

    async def _kill(self) -> None:
        """Kill the controller at some moment of a rollout; the next one has to bring it to its end, with as many pods
        as are declared, and no more."""
        began, self.version = time.monotonic(), 3 - self.version
        declared = {**DECLARED, "model": f"{NAME}:{self.version}", "target": "kubernetes"}
        await self._call("PUT", "", declared)
        moment = self.chance.uniform(0, 4)
        await asyncio.sleep(moment)
        await asyncio.to_thread(self.platform.kill)
        self.platform = await asyncio.to_thread(lambda: Up(self.platform.home).ready())
        found = await self._settled(
            lambda status: status["state"] in ("ready", "failed") and status["serving"] == declared["model"]
        )
        if (found["state"], found["serving"]) != ("ready", declared["model"]):
            self.wrong.append(f"killed after {moment:.2f} s: {found['state']}: {found['reason']}")
        end, pods = time.monotonic() + PATIENCE, 0
        while pods != DECLARED["replicas"] and time.monotonic() < end:
            items = (await asyncio.to_thread(self.plane.client().get, self.pods)).raise_for_status().json()["items"]
            pods = len(items)
            await asyncio.sleep(0.1)
        if pods != DECLARED["replicas"]:
            self.wrong.append(f"killed after {moment:.2f} s: {pods} pods, {DECLARED['replicas']} are declared")
        took = time.monotonic() - began
        self.took["kill"].append(took)
        self._say(f"the controller was killed {moment:.1f} s after a declaration, which was done after {took:.1f} s")

    async def _away(self, seconds: float, load: Load) -> None:
        """The API server is gone for so many seconds; what runs goes on, and is driven again once it is back."""
        gone = self.plane.away()
        await asyncio.to_thread(gone.__enter__)
        try:
            await self._heard(said=True)
            self._say("the API server is away, and the platform says so")
            await asyncio.sleep(seconds)
            await load.more()
        finally:
            await asyncio.to_thread(gone.__exit__, None, None, None)
        await self._heard(said=False)
        self._say(
            f"the API server is back after {seconds:g} s; {load.good:,} requests answered, {len(load.bad)} failed"
        )
        self.version = 3 - self.version
        await self._roll_out(f"model: {NAME}:{self.version}", target="kubernetes")
        await load.more()

    async def _heard(self, *, said: bool) -> None:
        """Wait until the platform says that the cluster is away, or does so no more."""
        end = time.monotonic() + PATIENCE
        while ("kubernetes" in (await asyncio.to_thread(self.platform.call, "GET", "/v1/status"))["away"]) != said:
            if time.monotonic() > end:
                self.wrong.append(f"the platform does not say that the cluster is {'away' if said else 'back'}")
                return
            await asyncio.sleep(0.2)

    async def _first_answer(self, name: str) -> None:
        """Declare an endpoint whose image is there, and ask until it answers."""
        declared = {"model": f"{NAME}:1", "target": "kubernetes", "public": True, "runtime": {"threads": 1}}
        began = time.monotonic()
        await asyncio.to_thread(self.platform.call, "PUT", f"/v1/endpoints/{name}", declared)
        await self._answer(name, began + PATIENCE, early=(404, 503))
        self.took["cold"].append(time.monotonic() - began)
        self._say(f"{name}: first answer after {self.took['cold'][-1]:.2f} s")
        await asyncio.to_thread(self.platform.call, "DELETE", f"/v1/endpoints/{name}")

    async def _answer(self, name: str, end: float, early: Collection[int] = ()) -> None:
        """Ask until there is an answer; any other but those with a status that is `early` is wrong."""
        url = f"{self.platform.call('GET', '/v1/status')['gateway']}/v2/models/{name}/infer"
        body = {"inputs": [{"name": "x", "datatype": "FP32", "shape": [1, 4], "data": [1, 2, 3, 4]}]}
        async with httpx.AsyncClient(timeout=PATIENCE) as client:
            while time.monotonic() < end:
                answer = await client.post(url, json=body)
                if answer.status_code == 200:
                    return
                if answer.status_code not in early:
                    self.wrong.append(f"{name}: {answer.status_code}: {answer.text[:200]}")
                await asyncio.sleep(0.02)
        self.wrong.append(f"{name}: no answer")

    async def _from_zero(self, times: int) -> None:
        """Ask an endpoint without a replica, again and again: each request waits, and is answered."""
        bounds = {"min": 0, "max": 1, "idle": 2, "patience": 0, "window": 2, "history": 10}
        declared = {"model": f"{NAME}:1", "target": "kubernetes", "public": True, "replicas": bounds}
        await asyncio.to_thread(self.platform.call, "PUT", "/v1/endpoints/zero", declared)
        for _ in range(times):
            end = time.monotonic() + PATIENCE
            while (await asyncio.to_thread(self.platform.call, "GET", "/v1/endpoints/zero"))["replicas"]:
                if time.monotonic() > end:
                    self.wrong.append("zero: it does not go to sleep")
                    return
                await asyncio.sleep(0.2)
            await asyncio.sleep(1.0)
            began = time.monotonic()
            await self._answer("zero", began + PATIENCE)
            self.took["zero"].append(time.monotonic() - began)
            self._say(f"zero: answered after {self.took['zero'][-1]:.2f} s")
        await asyncio.to_thread(self.platform.call, "DELETE", "/v1/endpoints/zero")

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


def figures(what: str, times: list[float]) -> str:
    """How many there were, and how long they took."""
    if not times:
        return ""
    ordered = sorted(times)
    p50, p99 = (ordered[min(len(ordered) - 1, int(share * len(ordered)))] for share in (0.5, 0.99))
    return f"{what}: {len(times)}, p50 {p50:.2f} s, p99 {p99:.2f} s, longest {ordered[-1]:.2f} s\n"


def stay(home: Home) -> None:
    """Until Ctrl-C."""
    print(f"look around with  ARGOSY_HOME={home.root} argosy ps\nCtrl-C ends it", flush=True)
    try:
        while True:
            time.sleep(1)
    except KeyboardInterrupt:
        print()


def _pods(plane: Plane, home: Home, options: argparse.Namespace) -> int:
    platform = Up(home).ready()
    try:
        wrong = pods.run(plane, home, platform, options)
    finally:
        platform.kill()
        clear(home)
    print(*wrong, sep="\n")
    return 1 if wrong else 0


def main() -> int:
    """Run; 1 where a request failed or something did not end well."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rollouts", type=int, default=20)
    parser.add_argument("--evictions", type=int, default=20)
    parser.add_argument("--kills", type=int, default=0)
    parser.add_argument("--cold", type=int, default=0)
    parser.add_argument("--zero", type=int, default=0)
    parser.add_argument("--away", type=float, default=0.0, help="seconds without an API server, under load")
    parser.add_argument("--pods", type=int, default=0, help="only this: as many pods as kwok acts")
    parser.add_argument("--seconds", type=float, default=30.0, help="with --pods: how long to look at rest")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--demo", action="store_true", help="one of each, then stay up")
    parser.add_argument("--once", action="store_true", help="with --demo: end by itself")
    options = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # all that was started ends with this
    if missing := programs.missing():
        sys.exit(f"not built: {', '.join(missing)}; run make kubernetes")
    rollouts, evictions = (1, 1) if options.demo else (options.rollouts, options.evictions)
    with tempfile.TemporaryDirectory(prefix="a") as folder:
        plane, home = Plane(Path(folder, "plane"), pods.ADDRESSES), Home(Path(folder, "home")).create()
        try:
            plane.start()
            namespace = plane.namespace()
            images = fill(home, plane, namespace)
            if options.pods:
                return _pods(plane, home, options)
            with plane.node(NODES[0], images), plane.node(NODES[1], images):
                print("a control plane of Kubernetes runs, with two nodes", flush=True)
                proof = Proof(plane, namespace, Up(home).ready(), options.seed)
                try:
                    more = (options.kills, options.cold, options.zero, options.away)
                    load = asyncio.run(proof.run(rollouts, evictions, *more))
                    for what, times in proof.took.items():
                        print(figures(what, times), end="")
                    print(f"{load.good:,} requests answered, {len(load.bad)} failed", flush=True)
                    if options.demo and not options.once:
                        stay(home)
                except BaseException:
                    print((home.logs / "control.log").read_text()[-8000:], file=sys.stderr)
                    raise
                finally:
                    proof.platform.stop()
                    clear(home)
        finally:
            plane.stop()
    print(*proof.wrong, sep="\n")
    return 1 if proof.wrong else 0


if __name__ == "__main__":
    sys.exit(main())
