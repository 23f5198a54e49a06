"""The containers of the process kubelet: each is a process, started again, probed and ended as its pod declares."""

import asyncio
import contextlib
import datetime
import os
import re
import signal
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any

import httpx

if TYPE_CHECKING:
    from tests.kubernetes.kubelet import Pod

BACKOFF = (0.5, 1.0, 2.0, 4.0, 8.0)
"""Seconds before a container is started again; a real kubelet begins with 10."""
INHERITED = ("PATH", "TMPDIR", "LANG")
Object = dict[str, Any]


class Unusable(Exception):
    """A container that cannot be started as it is declared."""


def second() -> str:
    """The time as Kubernetes writes it."""
    return datetime.datetime.now(datetime.UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


class Container:
    """One container of a pod: its process, started again as `policy` says, and its status."""

    def __init__(self, pod: "Pod", spec: Object, policy: str) -> None:
        self.pod, self.spec, self.policy, self.name = pod, spec, policy, spec["name"]
        self.image: Object = pod.kubelet.images.get(spec["image"], {})
        self.process: asyncio.subprocess.Process | None = None
        self.state: Object = {"waiting": {"reason": "PodInitializing"}}
        self.last: Object = {}
        self.restarts = 0
        self.started = asyncio.Event()
        self.ready = False

    async def run(self) -> None:
        """Run until it is not to be started again."""
        while not self.pod.stopping:
            began, code = second(), 0
            try:
                self.process = await self._start()
            except (Unusable, OSError) as error:
                reason = "CreateContainerConfigError" if isinstance(error, Unusable) else "CreateContainerError"
                self.state = {"waiting": {"reason": reason, "message": str(error)}}
            else:
                self.state = {"running": {"startedAt": began}}
                code = await self._watch(self.process)
                ended = {"exitCode": code if code >= 0 else 128 - code, "startedAt": began, "finishedAt": second()}
                self.state = {"terminated": ended | {"reason": "Error" if code else "Completed"}}
            self.ready = False
            self.started.clear()
            await self.pod.post()
            again = self.policy == "Always" or (self.policy == "OnFailure" and code != 0)
            if self.pod.stopping or ("terminated" in self.state and not again):
                return
            await self._back_off()

    async def _back_off(self) -> None:
        if "terminated" in self.state:
            self.last, self.state = self.state, {"waiting": {"reason": "CrashLoopBackOff"}}
            await self.pod.post()
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self.pod.stop_asked.wait(), BACKOFF[min(self.restarts, len(BACKOFF) - 1)])
        if not self.pod.stopping and self.last:
            self.restarts += 1

    async def _start(self) -> asyncio.subprocess.Process:
        hooks = [self.spec.get(f"{each}Probe", {}) for each in ("startup", "readiness", "liveness")]
        if any(hook and "httpGet" not in hook for hook in hooks):
            raise Unusable(f"the container {self.name} has a probe that is not httpGet")
        pre_stop = self.spec.get("lifecycle", {}).get("preStop")
        if pre_stop and not pre_stop.keys() & {"sleep", "httpGet"}:
            raise Unusable(f"the container {self.name} has a preStop that is neither sleep nor httpGet")
        command = [*(self.spec.get("command") or self.image.get("entrypoint", [])), *self.spec.get("args", [])]
        if not command:
            raise Unusable(f"the image {self.spec['image']} has no entry point, and the container no command")
        environment = {name: os.environ[name] for name in INHERITED if name in os.environ}
        environment |= {name: self.pod.mapped(value) for name, value in self.image.get("env", {}).items()}
        for each in self.spec.get("env", []):
            value = each.get("value", "") if "valueFrom" not in each else await self._value(each)
            environment[each["name"]] = self.pod.mapped(_expanded(value, environment))
        where = self.pod.mapped(self.spec.get("workingDir", "")) or str(self.pod.folder)
        with (self.pod.folder / f"{self.name}.log").open("ab") as log:
            return await asyncio.create_subprocess_exec(
                *(self.pod.mapped(_expanded(each, environment)) for each in command),
                stdin=asyncio.subprocess.DEVNULL, stdout=log, stderr=log, cwd=where, env=environment,
                start_new_session=True,
            )  # fmt: skip

    async def _value(self, declared: Object) -> str:
        fields = self.pod.fields()
        match declared["valueFrom"]:
            case {"fieldRef": {"fieldPath": path}} if path in fields:
                return fields[path]
            case {"configMapKeyRef": {"name": name, "key": key}}:
                return (await self.pod.config_map(name)).get(key, "")
            case other:
                raise Unusable(f"the variable {declared['name']} comes from {other}, which this kubelet cannot read")

    async def _watch(self, process: asyncio.subprocess.Process) -> int:
        """Probe until the process ends; its exit status."""
        if self.pod.stopping:  # since before there was a process to end
            self.kill()
        await self.pod.post()
        probes = asyncio.create_task(self._probe_all())
        try:
            return await process.wait()
        finally:
            probes.cancel()
            self.kill()  # what it started

    async def _probe_all(self) -> None:
        await self._probe("startupProbe", self._alive, once=True)
        self.started.set()
        self.ready = "readinessProbe" not in self.spec
        await self.pod.post()
        await asyncio.gather(self._probe("readinessProbe", self._readiness), self._probe("livenessProbe", self._alive))

    async def _alive(self, good: bool) -> None:
        if not good and not self.pod.stopping:
            await self.end(self.pod.grace)

    async def _readiness(self, good: bool) -> None:
        if good != self.ready:
            self.ready = good
            await self.pod.post()

    async def _probe(self, name: str, act: Callable[[bool], Awaitable[None]], once: bool = False) -> None:
        """Call `act` with what a probe says, whenever it has said so often enough; with `once`, until it is good."""
        probe = self.spec.get(name)
        if probe is None:
            return
        await asyncio.sleep(probe.get("initialDelaySeconds", 0))
        enough = {True: probe.get("successThreshold", 1), False: probe.get("failureThreshold", 3)}
        last, times = False, 0
        while True:
            good = await self._passes(probe["httpGet"], probe.get("timeoutSeconds", 1))
            times = times + 1 if good == last else 1
            last = good
            if times >= enough[good]:
                await act(good)
                if good and once:
                    return
            await asyncio.sleep(probe.get("periodSeconds", 10))

    async def _passes(self, get: Object, timeout: float | None) -> bool:
        named = {each.get("name"): each["containerPort"] for each in self.spec.get("ports", [])}
        host, port = get.get("host", self.pod.address), named.get(get["port"], get["port"])
        try:
            answer = await self.pod.kubelet.plain.get(f"http://{host}:{port}{get.get('path', '/')}", timeout=timeout)
        except httpx.HTTPError:
            return False
        return 200 <= answer.status_code < 400

    async def end(self, grace: float) -> None:
        """preStop, SIGTERM, and SIGKILL once `grace` seconds have passed since the call."""
        process = self.process
        if process is None or process.returncode is not None:
            return
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(grace):
                match self.spec.get("lifecycle", {}).get("preStop"):
                    case {"sleep": {"seconds": seconds}}:
                        await asyncio.sleep(seconds)
                    case {"httpGet": get}:
                        await self._passes(get, None)
                with contextlib.suppress(ProcessLookupError):
                    process.terminate()
                await process.wait()
        self.kill()

    def kill(self) -> None:
        """End the process with all of its group, now."""
        if self.process is not None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self.process.pid, signal.SIGKILL)

    def status(self) -> Object:
        """What the pod's status holds of it."""
        told = {"name": self.name, "image": self.spec["image"], "imageID": "", "restartCount": self.restarts}
        now = {"ready": self.ready, "started": self.started.is_set(), "state": self.state, "lastState": self.last}
        return told | now


def _expanded(text: str, environment: dict[str, str]) -> str:
    return re.sub(r"\$\((\w+)\)", lambda found: environment.get(found[1], found[0]), text)
