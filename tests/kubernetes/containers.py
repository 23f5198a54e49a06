"""The containers of the process kubelet: each is a process, started again, probed and ended as its pod declares."""

import asyncio
import contextlib
import datetime
import os
import re
import shlex
import shutil
import signal
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING

import httpx

from tests.kubernetes.api import Object
from tests.kubernetes.volumes import Unusable

if TYPE_CHECKING:
    from tests.kubernetes.kubelet import Pod

BACKOFF = (0.5, 1.0, 2.0, 4.0, 8.0)
"""Seconds before a container is started, or its image pulled, again; a real kubelet begins with 10."""
INHERITED = ("PATH", "TMPDIR", "LANG")
ACCOUNT = "/var/run/secrets/"
"""What is mounted below is there for the process itself, where it may have mounts: clients of the API look there."""
MESSAGE = 4096
"""Bytes of a termination message that are told."""
UNSHARE = shutil.which("unshare") or "unshare"
HOOKS = ("httpGet", "tcpSocket", "exec")


def second() -> str:
    """The time as Kubernetes writes it."""
    return datetime.datetime.now(datetime.UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


class Container:
    """One container of a pod: its process, started again as `policy` says, and its status."""

    def __init__(self, pod: "Pod", spec: Object, policy: str) -> None:
        self.pod, self.spec, self.policy, self.name = pod, spec, policy, spec["name"]
        self.image: Object = pod.kubelet.image(spec["image"]) or {}
        self.process: asyncio.subprocess.Process | None = None
        self.state: Object = {"waiting": {"reason": "PodInitializing"}}
        self.last: Object = {}
        self.restarts = 0
        self.started = asyncio.Event()
        self.ready = False
        self._environment: dict[str, str] = {}
        self._message = pod.folder / f"{self.name}.termination"
        self._log = pod.folder / f"{self.name}.log"
        self._logged = 0
        self._out_of_memory = False

    async def run(self) -> None:
        """Run until it is not to be started again."""
        while not self.pod.stopping and await self._pulled():
            began, code = second(), 0
            try:
                self.process = await self._start()
            except (Unusable, OSError) as error:
                reason = "CreateContainerConfigError" if isinstance(error, Unusable) else "CreateContainerError"
                self.state = {"waiting": {"reason": reason, "message": str(error)}}
            else:
                self.state = {"running": {"startedAt": began}}
                code = await self._watch(self.process)
                self.state = {"terminated": self._ended(code) | {"startedAt": began, "finishedAt": second()}}
            self.ready = False
            self.started.clear()
            await self.pod.post()
            again = self.policy == "Always" or (self.policy == "OnFailure" and code != 0)
            if self.pod.stopping or ("terminated" in self.state and not again):
                return
            await self._back_off()

    def _ended(self, code: int) -> Object:
        """What the status tells of a process that has ended."""
        reason = "OOMKilled" if self._out_of_memory else "Error" if code else "Completed"
        message = self._message.read_bytes()[:MESSAGE]
        if not message and code and self.spec.get("terminationMessagePolicy") == "FallbackToLogsOnError":
            message = b"".join(self._log.read_bytes()[self._logged :].splitlines(keepends=True)[-80:])[-2048:]
        told = {"message": message.decode(errors="replace")} if message else {}
        return {"exitCode": code if code >= 0 else 128 - code, "reason": reason} | told

    async def _pulled(self) -> bool:
        """Wait until its images are here, and tell it as a real kubelet does; False at the end of its pod."""
        mounted = [self.pod.volumes.declared[each["name"]] for each in self.spec.get("volumeMounts", [])]
        sources = [(each["image"]["reference"], each["image"].get("pullPolicy")) for each in mounted if "image" in each]
        for reference, policy in [(self.spec["image"], self.spec.get("imagePullPolicy")), *sources]:
            tries = 0
            while (problem := await self.pod.kubelet.pull(reference, policy)) is not None:
                reason, message = problem
                await self._wait(reason, message)
                await asyncio.sleep(0.2)
                if reason == "ErrImagePull":
                    told = f'Back-off pulling image "{reference}": {reason}: {message}'
                    await self._wait("ImagePullBackOff", told)
                await self._pause(BACKOFF[min(tries, len(BACKOFF) - 1)])
                tries += 1
                if self.pod.stopping:
                    return False
        self.image = self.pod.kubelet.image(self.spec["image"]) or {}
        return True

    async def _wait(self, reason: str, message: str) -> None:
        self.state = {"waiting": {"reason": reason, "message": message}}
        await self.pod.post()

    async def _pause(self, seconds: float) -> None:
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self.pod.stop_asked.wait(), seconds)

    async def _back_off(self) -> None:
        seconds = BACKOFF[min(self.restarts, len(BACKOFF) - 1)]
        if "terminated" in self.state:
            pod = f"{self.pod.name}_{self.pod.metadata['namespace']}({self.pod.uid})"
            self.last = self.state
            message = f"back-off {20 * seconds:.0f}s restarting failed container={self.name} pod={pod}"
            await self._wait("CrashLoopBackOff", message)
        await self._pause(seconds)
        if not self.pod.stopping and self.last:
            self.restarts += 1

    async def _start(self) -> asyncio.subprocess.Process:
        hooks = [self.spec.get(f"{each}Probe", {}) for each in ("startup", "readiness", "liveness")]
        if any(hook and not hook.keys() & set(HOOKS) for hook in hooks):
            raise Unusable(f"the container {self.name} has a probe that is not one of {HOOKS}")
        pre_stop = self.spec.get("lifecycle", {}).get("preStop")
        if pre_stop and not pre_stop.keys() & {"sleep", *HOOKS}:
            raise Unusable(f"the container {self.name} has a preStop that this kubelet does not know")
        command = [*(self.spec.get("command") or self.image.get("entrypoint", [])), *self.spec.get("args", [])]
        if not command:
            raise Unusable(f"the image {self.spec['image']} has no entry point, and the container no command")
        self._environment = environment = await self._variables()
        self._message.write_bytes(b"")
        self._logged = self._log.stat().st_size if self._log.exists() else 0
        self._out_of_memory = False
        where = self.mapped(self.spec.get("workingDir", "")) or str(self.pod.folder)
        mapped = [self.mapped(_expanded(each, environment)) for each in command]
        with self._log.open("ab") as log:
            return await asyncio.create_subprocess_exec(
                *self._alone(mapped), stdin=asyncio.subprocess.DEVNULL, stdout=log, stderr=log, cwd=where,
                env=environment, start_new_session=True,
            )  # fmt: skip

    def _alone(self, command: list[str]) -> list[str]:
        """The command with mounts of its own, where the kubelet may make them: names of the cluster are known, and the
        token of its account is where clients look."""
        if not self.pod.kubelet.resolver:
            return command
        mounts = self._mounts()
        accounts = {path: place for path, place in mounts.items() if path.startswith(ACCOUNT)}
        script = ["set -e; path=$PATH; PATH=/usr/sbin:/usr/bin:/sbin:/bin"]
        script += ["mount -t tmpfs none /run"] if accounts else []
        for path, place in accounts.items():
            at = shlex.quote(path.replace("/var/run", "/run"))
            script.append(f"mkdir -p {at}; mount --bind {shlex.quote(place)} {at}")
        names = shlex.quote(str(self.pod.folder / "resolv.conf"))
        script.append('r=$(readlink -f /etc/resolv.conf); mkdir -p "${r%/*}"; [ -e "$r" ] || : > "$r"')
        script += [f'mount --bind {names} "$r"', 'PATH=$path; exec "$@"']
        return [UNSHARE, "--mount", "--propagation", "private", "sh", "-c", "\n".join(script), "sh", *command]

    def _mounts(self) -> dict[str, str]:
        """Where the process finds what is mounted: path in the container → path here."""
        return {
            each["mountPath"].rstrip("/"): str(self.pod.volumes.place(each["name"]) / each.get("subPath", ""))
            for each in self.spec.get("volumeMounts", [])
        }

    def places(self) -> dict[str, str]:
        """Texts that are something else here than in a container."""
        told = {self.spec.get("terminationMessagePath", "/dev/termination-log"): str(self._message)}
        found = {"0.0.0.0": self.pod.address} | told | self.image.get("paths", {}) | self._mounts()
        return {path: place for path, place in found.items() if path != "/tmp"}  # which names much else here

    def mapped(self, text: str) -> str:
        """A text in which paths of mounts, and the address of all interfaces, are what they are here."""
        return replaced(text, self.places())

    async def _variables(self) -> dict[str, str]:
        environment = {name: os.environ[name] for name in INHERITED if name in os.environ}
        environment |= {name: self.mapped(value) for name, value in self.image.get("env", {}).items()}
        host, port = self.pod.kubelet.master
        environment |= {"HOSTNAME": self.pod.name, "KUBERNETES_SERVICE_HOST": host, "KUBERNETES_SERVICE_PORT": port}
        if (place := self._mounts().get("/tmp")) is not None:
            environment["TMPDIR"] = place
        for each in self.spec.get("envFrom", []):
            kind = "secret" if "secretRef" in each else "configmap"
            source = each.get("secretRef") or each["configMapRef"]
            data = await self._object(kind, source)
            prefix = each.get("prefix", "")
            environment |= {f"{prefix}{name}": self.mapped(value.decode()) for name, value in data.items()}
        for each in self.spec.get("env", []):
            value = each.get("value", "") if "valueFrom" not in each else await self._value(each)
            if value is not None:
                environment[each["name"]] = self.mapped(_expanded(value, environment))
        return environment

    async def _object(self, kind: str, source: Object) -> dict[str, bytes]:
        return await self.pod.kubelet.objects.get(self.pod, kind, source["name"], source.get("optional", False))

    async def _value(self, declared: Object) -> str | None:
        fields = self.pod.fields()
        match declared["valueFrom"]:
            case {"fieldRef": {"fieldPath": path}} if path in fields:
                return fields[path]
            case {"configMapKeyRef": source} | {"secretKeyRef": source}:
                kind = "Secret" if "secretKeyRef" in declared["valueFrom"] else "ConfigMap"
                found = await self._object(kind.lower(), source)
                if source["key"] in found:
                    return found[source["key"]].decode()
                if source.get("optional"):
                    return None
                where = f"{self.pod.metadata['namespace']}/{source['name']}"
                raise Unusable(f"couldn't find key {source['key']} in {kind} {where}")
            case {"resourceFieldRef": {"resource": resource}}:
                kind, _, what = resource.partition(".")
                return self.spec.get("resources", {}).get(kind, {}).get(what, "0")
            case other:
                raise Unusable(f"the variable {declared['name']} comes from {other}, which this kubelet cannot read")

    async def _watch(self, process: asyncio.subprocess.Process) -> int:
        """Probe until the process ends; its exit status."""
        if self.pod.stopping:  # since before there was a process to end
            self.kill()
        await self.pod.post()
        probes = asyncio.create_task(self._probe_all())
        hungry = asyncio.create_task(self._exhaust())
        try:
            return await process.wait()
        finally:
            probes.cancel()
            hungry.cancel()
            self.kill()  # what it started

    async def _exhaust(self) -> None:
        """Act a container that has taken more memory than its limit, where its image says after how long it has."""
        if (seconds := self.image.get("oom_after")) is not None:
            await asyncio.sleep(seconds)
            self._out_of_memory = True
            self.kill()

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
            good = await self._passes(probe, probe.get("timeoutSeconds", 1))
            times = times + 1 if good == last else 1
            last = good
            if times >= enough[good]:
                await act(good)
                if good and once:
                    return
            await asyncio.sleep(probe.get("periodSeconds", 10))

    async def _passes(self, probe: Object, timeout: float | None) -> bool:
        named = {each.get("name"): each["containerPort"] for each in self.spec.get("ports", [])}
        try:
            match probe:
                case {"httpGet": get}:
                    host, port = get.get("host", self.pod.address), named.get(get["port"], get["port"])
                    url = f"{get.get('scheme', 'HTTP').lower()}://{host}:{port}{get.get('path', '/')}"
                    headers = {each["name"]: each["value"] for each in get.get("httpHeaders", [])}
                    answer = await self.pod.kubelet.plain.get(url, timeout=timeout, headers=headers)
                    return 200 <= answer.status_code < 400
                case {"tcpSocket": get}:
                    host, port = get.get("host", self.pod.address), named.get(get["port"], get["port"])
                    _, writer = await asyncio.wait_for(asyncio.open_connection(host, port), timeout)
                    writer.close()
                    return True
                case _:
                    command = [self.mapped(each) for each in probe["exec"]["command"]]
                    process = await asyncio.create_subprocess_exec(
                        *self._alone(command), stdin=asyncio.subprocess.DEVNULL, stdout=asyncio.subprocess.DEVNULL,
                        stderr=asyncio.subprocess.DEVNULL, env=self._environment,
                    )  # fmt: skip
                    try:
                        return await asyncio.wait_for(process.wait(), timeout) == 0
                    finally:
                        if process.returncode is None:
                            process.kill()
        except (httpx.HTTPError, OSError):  # TimeoutError is one
            return False

    async def end(self, grace: float) -> None:
        """preStop, SIGTERM, and SIGKILL once `grace` seconds have passed since the call."""
        process = self.process
        if process is None or process.returncode is not None:
            return
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(grace):
                match self.spec.get("lifecycle", {}).get("preStop"):
                    case None:
                        pass
                    case {"sleep": {"seconds": seconds}}:
                        await asyncio.sleep(seconds)
                    case hook:
                        await self._passes(hook, None)
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


def replaced(text: str, places: dict[str, str]) -> str:
    """A text with these whole paths replaced, and with what is below them."""
    known = sorted(map(re.escape, places), key=len, reverse=True)
    return re.sub(rf"(?<![\w./-])({'|'.join(known)})(?![\w.-])", lambda found: places[found[1]], text)


def _expanded(text: str, environment: dict[str, str]) -> str:
    def value(found: re.Match[str]) -> str:
        return "$" if found[0] == "$$" else environment.get(found[1], found[0])

    return re.sub(r"\$\$|\$\((\w+)\)", value, text)
