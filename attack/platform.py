"""A platform under attack: controller with console, activator and Envoy, each a process of its own, before replicas
that are stand-ins, so that what an input costs is theirs. One endpoint answers, one is asleep and never wakes."""

import contextlib
import json
import socket
import ssl
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Literal
from urllib.parse import urlsplit

import httpx
import psutil

from argosy.activator import server
from argosy.control.scaling.activation import activator
from argosy.platform import leftovers
from argosy.spec.settings import Home, Settings
from argosy.store import open_store
from attack.control import Place
from attack.watch import SECONDS, Stalls, forget, resident
from tests.platform.up import Up, clear
from tests.store.samples import FILES, model_lineage, model_manifest, write_folder

Door = Literal["control", "gateway", "labels", "room"]
"""Where inputs go; those of labels and of the activator go there through the gateway."""
CONFIG = "control: {port: 0}\ngateway: {port: 0}\n"
EXPOSED = "control: {host: 0.0.0.0, port: 0, expose: true}\ngateway: {port: 0}\n"
PATIENCE = 10.0
SETTLING = 2.0
"""Seconds that a platform is given after its start, for what it does once."""


class Platform:
    """A running one, its secrets and its processes by name."""

    def __init__(self, up: Up) -> None:
        self.up, self.home = up, up.home
        url = urlsplit(json.loads((up.home.run / "control.json").read_text())["url"])
        self.control = Place(url.hostname or "", url.port or 0, url.scheme == "https")
        self.token = (up.home.run / "token").read_text()
        self._url = url.geturl()
        made = self.ask("PUT", "/v1/endpoints/digits?wait=60", {"model": "digits:1"})
        self.key: str = made["key"]
        gateway = urlsplit(made["url"])
        self.gateway = Place(gateway.hostname or "", gateway.port or 0)
        asleep = {"model": "asleep:1", "replicas": {"min": 0, "max": 1}, "waiting": {"size": 1000, "deadline": 10}}
        self.asleep: str = self.ask("PUT", "/v1/endpoints/asleep", asleep)["key"]
        self.processes = {
            "controller": psutil.Process(up.process.pid),
            "Envoy": leftovers.gateways(up.home)[0],
            "activator": activator(up.home).found()[0],
        }
        time.sleep(SETTLING)

    def ask(self, method: str, path: str, body: object) -> dict[str, str]:
        """The decoded answer of the control API."""
        sent = {"authorization": f"Bearer {self.token}"}
        found = httpx.request(method, self._url + path, json=body, headers=sent, timeout=SECONDS, verify=_unverified())
        found.raise_for_status()
        return found.json()

    def probe(self, door: Door) -> tuple[Callable[[], socket.socket], bytes, bytes]:
        """How to connect, a small request of somebody else, and how its answer begins."""
        if door == "room":
            return self._waiting, b"GET /v2 HTTP/1.1\r\nargosy-endpoint: nobody\r\n\r\n", b"HTTP/1.1 503"
        if door in ("control", "labels"):
            return self.control.connect, self.request("GET", "/v1/aliases"), b"HTTP/1.1 405"
        asked = self.request("POST", "/v2/models/digits/infer", b"{}", key=self.key)
        return self.gateway.connect, asked, b"HTTP/1.1 200"

    def _waiting(self) -> socket.socket:
        line = socket.socket(socket.AF_UNIX)
        line.settimeout(SECONDS)
        line.connect(str(server.http_socket(self.home.run)))
        return line

    def request(self, method: str, path: str, body: bytes = b"", *, key: str = "", more: str = "") -> bytes:
        """A whole request, with a key or the control token."""
        secret = key or self.token
        head = f"{method} {path} HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {secret}\r\n{more}"
        return f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body


class Watched:
    """A platform while one input is sent to one of its doors: what each of its processes grows, whom it stalls."""

    def __init__(self, platform: Platform, door: Door) -> None:
        self.platform, self.door = platform, door
        self._stalls = Stalls(*platform.probe(door))

    def __enter__(self) -> "Watched":
        self._stalls.__enter__()
        for process in self.platform.processes.values():
            forget(process.pid)
        self._before = {name: resident(one.pid, "VmRSS") for name, one in self.platform.processes.items()}
        return self

    def __exit__(self, *_: object) -> None:
        self._stalls.__exit__()

    def connect(self) -> socket.socket:
        """A connection to the door."""
        return (self.platform.control if self.door == "control" else self.platform.gateway).connect(SECONDS)

    def settled(self) -> None:
        """Wait until probes have gone on for a while."""
        self._stalls.settled()

    @property
    def grown(self) -> tuple[float, str]:
        """MiB, at the most, and the process that grew so much."""
        found = {
            name: (resident(one.pid, "VmHWM") - self._before[name]) / 1024
            for name, one in self.platform.processes.items()
        }
        name = max(found, key=lambda each: found[each])
        return found[name], name

    @property
    def longest(self) -> float:
        """Seconds that another request took."""
        return self._stalls.longest


@contextmanager
def running(folder: Path, config: str = CONFIG) -> Iterator[Platform]:
    """A platform in this folder."""
    home = Home(folder).create()
    home.config.write_text(config)
    store = open_store(home, Settings())
    for name, behaviour in (("digits", b"ok"), ("asleep", b"never")):
        package = write_folder(home.root / name, FILES | {"behaviour": behaviour})
        store.add(package, name=name, manifest=model_manifest(), lineage=model_lineage())
    store.close()
    up = Up(home, [sys.executable, "-m", "attack.platform"])
    try:
        yield Platform(up.ready())
    finally:
        if up.process.poll() is None:
            up.process.terminate()
            with contextlib.suppress(subprocess.TimeoutExpired):
                up.process.wait(PATIENCE)
            up.kill()
        clear(home)


def _unverified() -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    return context


if __name__ == "__main__":
    import asyncio
    from functools import partial

    from argosy.console.app import pages
    from argosy.platform.targets import local_target
    from argosy.platform.up import up as run
    from argosy.spec.settings import home, load
    from tests.platform.stand_in_up import STAND_IN

    target = partial(local_target, command=STAND_IN)

    asyncio.run(run(home(), load(home()), report=print, pages=pages, target=target))
