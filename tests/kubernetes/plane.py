"""A Kubernetes control plane for a session of tests: etcd, API server, controller manager, scheduler, and kwok, which
acts nodes and their pods.

All of it is real but the nodes: RBAC is on, every client shows a certificate of the plane's own authority, and each
program listens on 127.0.0.1 or not at all. Nothing is kept: etcd does not wait for its disk, and the end is a kill.
Nodes whose pods are processes have Services and their names where `network` is possible, which takes root.
"""

import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import NoReturn, TypeVar

import httpx
import psutil
import pytest
import yaml

from tests.kubernetes import network, programs
from tests.kubernetes.certificates import Authority
from tests.ports import free
from tests.programs import cut_off

MASTERS = "system:masters"
FAKE = "kwok.x-k8s.io/node"
"""Annotation (`fake`) of nodes whose pods kwok acts: Running and Ready at once, gone as soon as they are deleted."""
KWOK = {"apiVersion": "config.kwok.x-k8s.io/v1alpha1", "kind": "KwokConfiguration"}
SWIFT = ("--kube-api-qps=1000", "--kube-api-burst=2000")
"""Options of programs that else make 20 or 50 requests a second at most."""
PATIENCE = 60.0
"""Seconds for whatever a busy machine has to do."""
Found = TypeVar("Found")


def until(check: Callable[[], Found | None], what: str, patience: float = PATIENCE) -> Found:
    """The first true answer of `check`, asked again and again."""
    end = time.monotonic() + patience
    while not (found := check()):
        assert time.monotonic() < end, f"{what}: not within {patience:.0f} s"
        time.sleep(0.1)
    return found


def absent(what: str) -> NoReturn:
    """Skip a test for what this machine lacks, or fail if this is CI."""
    pytest.fail(what) if os.environ.get("CI") == "true" else pytest.skip(what)


class Plane:
    """A control plane in a folder; `start` it, `stop` it. `crowd`: the network of thousands of pods that kwok acts."""

    def __init__(self, folder: Path, crowd: str = "") -> None:
        self.folder, self._crowd = folder, crowd
        self.network = network.obtained()
        self.authority = Authority(folder / "certificates")
        self.url = f"https://127.0.0.1:{free()}"
        self._etcd = f"http://127.0.0.1:{free()}"
        self._running: dict[str, subprocess.Popen[bytes]] = {}
        self._commands: dict[str, list[str]] = {}
        self._proxy: subprocess.Popen[bytes] | None = None
        self._nodes = 0
        self._clients: dict[str, httpx.Client] = {}

    def start(self) -> None:
        """Start all programs; return once pods can be made."""
        peers = f"http://127.0.0.1:{free()}"
        self._run(
            "etcd", f"--data-dir={self.folder / 'etcd'}", "--unsafe-no-fsync", "--log-level=warn",
            f"--listen-client-urls={self._etcd}", f"--advertise-client-urls={self._etcd}",
            f"--listen-peer-urls={peers}", f"--initial-advertise-peer-urls={peers}",
            f"--initial-cluster=default={peers}",
        )  # fmt: skip
        self._run("kube-apiserver", *self._api_server())
        until(self._ready, "the API server's /readyz")
        accounts = self.authority.service_accounts
        self._run(
            "kube-controller-manager", f"--kubeconfig={self.kubeconfig('system:kube-controller-manager')}",
            f"--service-account-private-key-file={accounts}", f"--root-ca-file={self.authority.certificate}",
            "--use-service-account-credentials", "--leader-elect=false", "--secure-port=0",
            *SWIFT, "--node-monitor-period=1s", f"--node-monitor-grace-period={600 if self._crowd else 10}s",
        )  # fmt: skip
        scheduler = self.kubeconfig("system:kube-scheduler")
        self._run("kube-scheduler", f"--kubeconfig={scheduler}", "--leader-elect=false", "--secure-port=0", *SWIFT)
        stages = sorted((programs.folder() / "kwok-stages").glob("*.yaml"))
        if self._crowd:
            stages.append(self.folder / "kwok.yaml")
            at_once = dict.fromkeys(("podPlayStageParallelism", "nodePlayStageParallelism", "nodeLeaseParallelism"), 32)
            stages[-1].write_text(yaml.safe_dump(KWOK | {"options": {"cidr": self._crowd, **at_once}}))
        self._run(
            "kwok", f"--kubeconfig={self.kubeconfig('kwok', MASTERS)}", *(f"--config={stage}" for stage in stages),
            f"--manage-nodes-with-annotation-selector={FAKE}=fake", "--node-lease-duration-seconds=10",
        )  # fmt: skip
        self._account("default")

    def _api_server(self) -> Iterator[str]:
        port = self.url.rpartition(":")[2]
        certificate, key = self.authority.issue("kube-apiserver", server=True, address=self.master)
        accounts = self.authority.service_accounts
        yield from (
            f"--etcd-servers={self._etcd}",
            "--bind-address=127.0.0.1",
            "--advertise-address=127.0.0.1",
            f"--secure-port={port}",
        )
        services = self.network.services if self.network else "10.0.0.0/20"
        yield from ("--endpoint-reconciler-type=none", f"--service-cluster-ip-range={services}", "--profiling=false")
        yield from (f"--tls-cert-file={certificate}", f"--tls-private-key-file={key}", "--allow-privileged")
        yield from (f"--client-ca-file={self.authority.certificate}", "--authorization-mode=Node,RBAC")
        yield from ("--enable-admission-plugins=NodeRestriction", "--service-account-issuer=https://kubernetes.test")
        yield from (f"--service-account-key-file={accounts}", f"--service-account-signing-key-file={accounts}")

    @property
    def master(self) -> str:
        """The address of the API server as a Service."""
        return f"{self.network.prefix}.0.1" if self.network else "10.0.0.1"

    def _run(self, name: str, *arguments: str) -> None:
        self._commands[name] = [str(programs.folder() / name), *arguments]
        self._running[name] = self._popen(name, self._commands[name], self.folder)

    def _popen(self, name: str, command: list[str], where: Path | None = None) -> subprocess.Popen[bytes]:
        with (self.folder / f"{name}.log").open("ab") as log:
            return subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, cwd=where, start_new_session=True
            )

    @contextlib.contextmanager
    def away(self, name: str = "kube-apiserver") -> Iterator[None]:
        """A program of the plane is killed, and started again at the end: connections are refused meanwhile."""
        program = self._running.pop(name)
        program.kill()
        program.wait()
        try:
            yield
        finally:
            self._running[name] = self._popen(name, self._commands[name], self.folder)
            until(self._ready, "the API server's /readyz")

    def restart(self, name: str = "kube-apiserver") -> None:
        """Kill a program of the plane and start it again."""
        with self.away(name):
            pass

    @contextlib.contextmanager
    def paused(self, name: str = "kube-apiserver") -> Iterator[None]:
        """A program of the plane does nothing for a while: connections stay, and nobody answers."""
        program = psutil.Process(self._running[name].pid)
        program.suspend()
        try:
            threads = [psutil.Process(each.id) for each in program.threads()]
            until(lambda: all(each.status() == psutil.STATUS_STOPPED for each in threads), "a program at rest")
            yield
        finally:
            program.resume()
            until(self._ready, "the API server's /readyz")

    def _ready(self) -> bool:
        self.check()
        with contextlib.suppress(httpx.TransportError):
            return self.client().get("/readyz").status_code == 200
        return False

    def _account(self, namespace: str) -> None:
        """Wait for the service account without which a namespace can have no pods."""
        path = f"/api/v1/namespaces/{namespace}/serviceaccounts/default"
        until(lambda: self.check() or self.client().get(path).status_code == 200, path)

    def check(self) -> None:
        """Fail with the end of a program's log if it has ended."""
        for name, program in self._running.items():
            if program.poll() is not None:
                log = (self.folder / f"{name}.log").read_text(errors="replace")
                raise AssertionError(f"{name} ended ({program.returncode}):\n{log[-3000:]}")

    def stop(self) -> None:
        """Kill all programs with what they started."""
        for client in self._clients.values():
            client.close()
        programs = [*self._running.values(), *([self._proxy] if self._proxy else [])]
        for program in reversed(programs):
            with contextlib.suppress(ProcessLookupError):
                os.killpg(program.pid, signal.SIGKILL)
        for program in programs:
            program.wait()
        if self.network:
            self.network.close()

    def client(self, user: str = "admin", *groups: str) -> httpx.Client:
        """A client of the API with a certificate of this user; the plane closes it."""
        if user not in self._clients:
            context = self.authority.context(user, *(groups or self._groups(user)))
            self._clients[user] = httpx.Client(base_url=self.url, verify=context, trust_env=False, timeout=30)
        return self._clients[user]

    def bearer(self, namespace: str, account: str) -> httpx.Client:
        """A client of the API with a token of this service account; close it."""
        answer = self.client().post(
            f"/api/v1/namespaces/{namespace}/serviceaccounts/{account}/token",
            json={"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "spec": {}},
        )
        token = {"authorization": f"Bearer {answer.raise_for_status().json()['status']['token']}"}
        return httpx.Client(base_url=self.url, verify=self.authority.context(), trust_env=False, headers=token)

    def kubeconfig(self, user: str = "admin", *groups: str, seconds: float | None = None) -> Path:
        """The file by which other programs reach the API as this user, whose certificate may end so soon."""
        certificate, key = self.authority.issue(user, *(groups or self._groups(user)), seconds=seconds)
        file = certificate.with_suffix(".kubeconfig")
        cluster = {"server": self.url, "certificate-authority": str(self.authority.certificate)}
        content = {
            "apiVersion": "v1",
            "kind": "Config",
            "current-context": "test",
            "clusters": [{"name": "test", "cluster": cluster}],
            "users": [{"name": user, "user": {"client-certificate": str(certificate), "client-key": str(key)}}],
            "contexts": [{"name": "test", "context": {"cluster": "test", "user": user}}],
        }
        file.write_text(yaml.safe_dump(content))
        return file

    @staticmethod
    def _groups(user: str) -> tuple[str, ...]:
        return (MASTERS,) if user == "admin" else ()

    def namespace(self) -> str:
        """The name of a new namespace that can have pods."""
        answer = self.client().post("/api/v1/namespaces", json={"metadata": {"generateName": "t-"}})
        name = answer.raise_for_status().json()["metadata"]["name"]
        self._account(name)
        return name

    def fake_nodes(self, count: int) -> None:
        """Have at least this many nodes whose pods kwok acts, all Ready."""
        names = [f"fake-{number}" for number in range(count)]
        for name in names:
            metadata = {"name": name, "annotations": {FAKE: "fake"}, "labels": {"kubernetes.io/hostname": name}}
            status = {each: {"cpu": "32", "memory": "256Gi", "pods": "110"} for each in ("allocatable", "capacity")}
            answer = self.client().post("/api/v1/nodes", json={"metadata": metadata, "status": status})
            assert answer.status_code in (201, 409), answer.text
        until(lambda: all(map(self._node_ready, names)), f"Ready of {count} nodes")

    def close_nodes(self) -> None:
        """Have no node that is there take pods: acted ones are deleted, and made anew by whoever wants them."""
        client, headers = self.client(), {"content-type": "application/merge-patch+json"}
        for each in client.get("/api/v1/nodes").json()["items"]:
            path = f"/api/v1/nodes/{each['metadata']['name']}"
            if FAKE in each["metadata"].get("annotations", {}):
                client.delete(path)
            else:
                client.patch(path, json={"spec": {"unschedulable": True}}, headers=headers)

    def _node_ready(self, name: str) -> bool:
        answer = self.client().get(f"/api/v1/nodes/{name}")
        if answer.status_code == 404:
            return False
        node = answer.raise_for_status().json()
        ready = any(
            each["type"] == "Ready" and each["status"] == "True" for each in node["status"].get("conditions", [])
        )
        return ready and not any(each["key"].endswith("not-ready") for each in node["spec"].get("taints", []))

    def need_services(self) -> None:
        """Skip a test of Services of pods that are processes where they are not possible; fail if this is CI."""
        if self.network is None:
            absent("no network for pods: this takes root, /dev/net/tun, ip and unshare")

    @contextlib.contextmanager
    def node(
        self,
        name: str,
        images: Mapping[str, Mapping[str, object]] | None = None,
        capacity: Mapping[str, str] | None = None,
    ) -> Iterator[psutil.Popen]:
        """The process of a node whose pods are processes, Ready; `kubelet` says what `images` are. Its end is a loss of
        power: send it SIGSTOP to have a node that is only silent."""
        shutil.rmtree(self.folder / name, ignore_errors=True)  # of an earlier node of its name
        (self.folder / name).mkdir()
        self.publish(name, images or {})
        command = self._node_command(name, capacity or {})
        with (self.folder / name / "log").open("ab") as log:
            kubelet = psutil.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True)
        try:
            until(lambda: kubelet.poll() is not None or self._node_ready(name), f"Ready of {name}")
            assert kubelet.poll() is None, (self.folder / name / "log").read_text()
            if self._proxy is not None:
                assert self._proxy.poll() is None, (self.folder / "proxy.log").read_text()
            yield kubelet
        finally:
            cut_off(kubelet)
            kubelet.wait()
            self.client().delete(f"/api/v1/nodes/{name}")

    def publish(self, node: str, images: Mapping[str, Mapping[str, object]]) -> None:
        """Let these be all images that a node finds, from now on."""
        new = self.folder / node / "images.json.new"
        new.write_text(json.dumps(images))
        new.rename(new.with_suffix(""))

    def _node_command(self, name: str, capacity: Mapping[str, str]) -> list[str]:
        if self.network:
            self._nodes += 1
            addresses, resolver = self.network.of_node(self._nodes), self.network.resolver
            if self._proxy is None:
                files = map(str, (self.authority.certificate, *self.authority.issue("system:kube-proxy")))
                command = [sys.executable, "-m", "tests.kubernetes.proxy", self.url, *files, resolver]
                self._proxy = self._popen("proxy", command)
        else:
            number = free()  # that nobody else is given; below 32,000, so that this is a loopback network
            addresses, resolver = f"127.{number >> 8}.{number & 255}", ""
        user = (f"system:node:{name}", "system:nodes")
        files = map(str, (self.authority.certificate, *self.authority.issue(*user), self.folder / name))
        module = [sys.executable, "-m", "tests.kubernetes.kubelet"]
        return [*module, name, self.url, *files, addresses, resolver, json.dumps(capacity)]

    def memory(self) -> dict[str, int]:
        """Bytes of memory that each program has resident."""
        return {name: psutil.Process(program.pid).memory_info().rss for name, program in self._running.items()}


@contextlib.contextmanager
def running(folder: Path) -> Iterator[Plane]:
    """A control plane. Where its programs are not built the test is skipped, or fails if this is CI."""
    if missing := programs.missing():
        absent(f"not built: {', '.join(missing)}; run make kubernetes")
    plane = Plane(folder)
    try:
        plane.start()
        yield plane
    finally:
        plane.stop()
