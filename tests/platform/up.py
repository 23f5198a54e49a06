"""A home of its own for each test, and the platform as users run it: a process."""

import asyncio
import contextlib
import json
import os
import signal
import ssl
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest

from argosy.alerting.triggers import command as commands
from argosy.jobs import runner
from argosy.platform import leftovers
from argosy.process.process import end
from argosy.spec.settings import Home, Settings, load
from argosy.store import open_store
from argosy.store.store import Store
from tests.store.samples import FILES, model_lineage, model_manifest, write_folder

PATIENCE = 60.0
STAND_IN_UP = [sys.executable, str(Path(__file__).with_name("stand_in_up.py"))]


def clear(home: Home) -> None:
    """End all that a killed platform has left for the next one to adopt."""
    ours = leftovers.serving(home)
    end([*ours, *runner.processes(home).values()])
    commands.end(home)


@pytest.fixture
def home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Home]:
    place = Home(tmp_path_factory.mktemp("h")).create()
    place.config.write_text("control: {port: 0}\ngateway: {port: 0}\n")
    yield place
    clear(place)


@pytest.fixture
def store(home: Home) -> Iterator[Store]:
    opened = open_store(home, Settings())
    yield opened
    opened.close()


@pytest.fixture
def settings(home: Home) -> Settings:
    return load(home, {})


class Up:
    """`python -m argosy.platform` (or another command that runs `up`) on a home."""

    def __init__(self, home: Home, command: list[str] | None = None) -> None:
        self.home = home
        self.out = home.root / "up.out"
        with self.out.open("ab") as out:
            self.process = subprocess.Popen(
                command or [sys.executable, "-m", "argosy.platform"],
                env={**os.environ, "ARGOSY_HOME": str(home.root)},
                stdout=out,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    def ready(self) -> "Up":
        until(lambda: self.announced() or self.process.poll() is not None)
        assert self.process.poll() is None, self.out.read_text()
        return self

    def announced(self) -> bool:
        with contextlib.suppress(OSError, ValueError):
            return json.loads((self.home.run / "control.json").read_text())["pid"] == self.process.pid
        return False

    def call(self, method: str, path: str, body: Any = None, **query: Any) -> Any:
        """The decoded answer; an error status fails the test."""
        answer = self.ask(method, path, json=body, params=query, timeout=PATIENCE + query.get("wait", 0))
        assert answer.status_code < 300, answer.text
        return answer.json()

    def ask(self, method: str, path: str, *, headers: dict[str, str] | None = None, **more: Any) -> httpx.Response:
        """The answer, whatever it is. The token is sent unless another Authorization is given."""
        found = json.loads((self.home.run / "control.json").read_text())
        sent = {"authorization": f"Bearer {(self.home.run / 'token').read_text()}"} | (headers or {})
        try:
            verify = ssl.create_default_context(cafile=found["certificate"]) if found.get("fingerprint") else True
            patient = {"timeout": PATIENCE, "verify": verify} | more
            return httpx.request(method, found["url"] + path, headers=sent, **patient)
        except httpx.TransportError as error:
            error.add_note(f"exit status {self.process.poll()}; {self.out.read_text(errors='replace')[-8000:]}")
            raise

    def pids(self) -> list[int]:
        """Of replicas that serve; 0 is that of one that has just ended."""
        found = self.call("GET", "/v1/replicas")
        return sorted(each["pid"] for each in found if each["phase"] == "ready" and each["pid"])

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()

    def stop(self) -> int:
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(PATIENCE)


@contextmanager
def started(home: Home) -> Iterator[Callable[..., Up]]:
    """Begins platforms on the home, and kills those that are left at the end."""
    found: list[Up] = []

    def begin(command: list[str] | None = None) -> Up:
        found.append(Up(home, command))
        return found[-1]

    try:
        yield begin
    finally:
        for one in found:
            if one.process.poll() is None:
                one.kill()


@pytest.fixture
def start(home: Home) -> Iterator[Callable[..., Up]]:
    with started(home) as begin:
        yield begin


def until(condition: Callable[[], Any], seconds: float = PATIENCE) -> Any:
    """Wait for a condition that another process brings about."""
    end = time.monotonic() + seconds
    while not (found := condition()):
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.02)
    return found


class Load:
    """Clients that send request after request through the gateway, and note whatever is not as it should."""

    def __init__(self, url: str, key: str, clients: int = 3, pause: float = 0.02) -> None:
        self.url, self.key, self.clients, self._pause = url, key, clients, pause
        self.good = 0
        self.answers: set[float] = set()
        self.replicas: set[str] = set()
        self.bad: list[str] = []
        self._stop = asyncio.Event()

    async def __aenter__(self) -> "Load":
        self._tasks = [asyncio.create_task(self._client()) for _ in range(self.clients)]
        return self

    async def _client(self) -> None:
        body = {"inputs": [{"name": "x", "datatype": "FP32", "shape": [1, 4], "data": [1, 1, 1, 1]}]}
        async with httpx.AsyncClient(headers={"authorization": f"Bearer {self.key}"}, timeout=PATIENCE) as client:
            while not self._stop.is_set():
                try:
                    answer = await client.post(self.url, json=body)
                    if answer.status_code == 200:
                        self.good += 1
                        self.answers.add(answer.json()["outputs"][0]["data"][0])
                        self.replicas.add(answer.headers.get("x-argosy-replica", ""))
                    else:
                        self.bad.append(f"{answer.status_code} {answer.text}")
                except httpx.HTTPError as error:
                    self.bad.append(repr(error))
                await asyncio.sleep(self._pause)

    async def __aexit__(self, *_: object) -> None:
        self._stop.set()
        await asyncio.gather(*self._tasks)

    async def all_answer(self, replicas: int) -> None:
        """Wait until so many replicas have answered from now on: the gateway has them, not the controller alone."""
        self.replicas.clear()
        async with asyncio.timeout(PATIENCE):
            while len(self.replicas) < replicas:
                await asyncio.sleep(0.01)

    async def more(self, requests: int = 30) -> None:
        """Wait until so many more have been answered."""
        wanted = self.good + requests
        async with asyncio.timeout(PATIENCE):
            while self.good < wanted:
                await asyncio.sleep(0.01)


@contextmanager
def stand_ins(place: Path) -> Iterator[Up]:
    """A platform whose replicas are stand-ins, with one version of `digits` in its store."""
    home = Home(place).create()
    home.config.write_text("control: {port: 0}\ngateway: {port: 0}\n")
    store = open_store(home, Settings())
    folder = write_folder(home.root / "p", FILES | {"behaviour": b"ok"})
    store.add(folder, name="digits", manifest=model_manifest(), lineage=model_lineage())
    store.close()
    up = Up(home, STAND_IN_UP).ready()
    yield up
    up.stop()
    clear(home)
