"""A Kubernetes control plane for a session of tests: etcd, API server, controller manager, scheduler, and kwok, which
acts nodes and their pods.

All of it is real but the nodes: RBAC is on, every client shows a certificate of the plane's own authority, and each
program listens on 127.0.0.1 or not at all. Nothing is kept: etcd does not wait for its disk, and the end is a kill.
"""

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import TypeVar

import httpx
import psutil
import pytest
import yaml

from tests.kubernetes import programs
from tests.kubernetes.certificates import Authority
from tests.ports import free

MASTERS = "system:masters"
FAKE = "kwok.x-k8s.io/node"
"""Annotation (`fake`) of nodes whose pods kwok acts: Running and Ready at once, gone as soon as they are deleted."""
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


def cut_off(process: psutil.Process) -> None:
    """Kill a process with all that it has started."""
    with contextlib.suppress(psutil.NoSuchProcess):
        process.suspend()  # it starts nothing meanwhile
        for each in [*process.children(recursive=True), process]:
            with contextlib.suppress(psutil.NoSuchProcess):
                each.kill()


class Plane:
    """A control plane in a folder; `start` it, `stop` it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.authority = Authority(folder / "certificates")
        self.url = f"https://127.0.0.1:{free()}"
        self._etcd = f"http://127.0.0.1:{free()}"
        self._running: dict[str, subprocess.Popen[bytes]] = {}
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
            *SWIFT, "--node-monitor-period=1s", "--node-monitor-grace-period=10s",
        )  # fmt: skip
        scheduler = self.kubeconfig("system:kube-scheduler")
        self._run("kube-scheduler", f"--kubeconfig={scheduler}", "--leader-elect=false", "--secure-port=0", *SWIFT)
        stages = sorted((programs.folder() / "kwok-stages").glob("*.yaml"))
        self._run(
            "kwok", f"--kubeconfig={self.kubeconfig('kwok', MASTERS)}", *(f"--config={stage}" for stage in stages),
            f"--manage-nodes-with-annotation-selector={FAKE}=fake", "--node-lease-duration-seconds=10",
        )  # fmt: skip
        self._account("default")

    def _api_server(self) -> Iterator[str]:
        port = self.url.rpartition(":")[2]
        certificate, key = self.authority.issue("kube-apiserver", server=True)
        accounts = self.authority.service_accounts
        yield from (
            f"--etcd-servers={self._etcd}",
            "--bind-address=127.0.0.1",
            "--advertise-address=127.0.0.1",
            f"--secure-port={port}",
        )
        yield from ("--endpoint-reconciler-type=none", "--service-cluster-ip-range=10.0.0.0/16", "--profiling=false")
        yield from (f"--tls-cert-file={certificate}", f"--tls-private-key-file={key}", "--allow-privileged")
        yield from (f"--client-ca-file={self.authority.certificate}", "--authorization-mode=Node,RBAC")
        yield from ("--enable-admission-plugins=NodeRestriction", "--service-account-issuer=https://kubernetes.test")
        yield from (f"--service-account-key-file={accounts}", f"--service-account-signing-key-file={accounts}")

    def _run(self, name: str, *arguments: str) -> None:
        with (self.folder / f"{name}.log").open("ab") as log:
            self._running[name] = subprocess.Popen(
                [str(programs.folder() / name), *arguments],
                stdin=subprocess.DEVNULL, stdout=log, stderr=log, cwd=self.folder, start_new_session=True,
            )  # fmt: skip

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
        for program in reversed(self._running.values()):
            with contextlib.suppress(ProcessLookupError):
                os.killpg(program.pid, signal.SIGKILL)
        for program in self._running.values():
            program.wait()

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

    def kubeconfig(self, user: str = "admin", *groups: str) -> Path:
        """The file by which other programs reach the API as this user."""
        certificate, key = self.authority.issue(user, *(groups or self._groups(user)))
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

    def _node_ready(self, name: str) -> bool:
        answer = self.client().get(f"/api/v1/nodes/{name}")
        if answer.status_code == 404:
            return False
        node = answer.raise_for_status().json()
        ready = any(
            each["type"] == "Ready" and each["status"] == "True" for each in node["status"].get("conditions", [])
        )
        return ready and not any(each["key"].endswith("not-ready") for each in node["spec"].get("taints", []))

    @contextlib.contextmanager
    def node(self, name: str, images: Mapping[str, Mapping[str, object]] | None = None) -> Iterator[psutil.Popen]:
        """The process of a node whose pods are processes, Ready; `kubelet` says what `images` are. Its end is a loss of
        power: send it SIGSTOP to have a node that is only silent."""
        folder = self.folder / name
        folder.mkdir()
        (folder / "images.json").write_text(json.dumps(images or {}))
        network = free()  # a number that nobody else is given; below 32,000, so that this is a loopback network
        user = (f"system:node:{name}", "system:nodes")
        command = [sys.executable, "-m", "tests.kubernetes.kubelet", name, self.url, self.authority.certificate]
        command += [*self.authority.issue(*user), folder, f"127.{network >> 8}.{network & 255}", folder / "images.json"]
        with (folder / "log").open("ab") as log:
            kubelet = psutil.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True)
        try:
            until(lambda: kubelet.poll() is not None or self._node_ready(name), f"Ready of {name}")
            assert kubelet.poll() is None, (folder / "log").read_text()
            yield kubelet
        finally:
            cut_off(kubelet)
            kubelet.wait()
            self.client().delete(f"/api/v1/nodes/{name}")

    def memory(self) -> dict[str, int]:
        """Bytes of memory that each program has resident."""
        return {name: psutil.Process(program.pid).memory_info().rss for name, program in self._running.items()}


@contextlib.contextmanager
def running(folder: Path) -> Iterator[Plane]:
    """A control plane. Where its programs are not built the test is skipped, or fails if this is CI."""
    if missing := programs.missing():
        message = f"not built: {', '.join(missing)}; run make kubernetes"
        pytest.fail(message) if os.environ.get("CI") == "true" else pytest.skip(message)
    plane = Plane(folder)
    try:
        plane.start()
        yield plane
    finally:
        plane.stop()
