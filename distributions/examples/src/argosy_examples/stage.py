"""A platform with the demo's models on it."""

import asyncio
import contextlib
import shlex
import signal
from collections.abc import Callable, Generator
from pathlib import Path
from types import FrameType
from typing import Any

import msgspec

from argosy.client.control import ControlClient
from argosy.packaging.push import push
from argosy.platform.detach import detach
from argosy.protocol import rest
from argosy.spec.endpoint import Endpoint, Runtime
from argosy.spec.errors import BadPackage, DeadlineExceeded
from argosy.spec.settings import Home, load
from argosy.store import open_store
from argosy_examples import home as homes
from argosy_examples import traffic
from argosy_examples.case import Case, Score

Report = Callable[[str], None]
READY_SECONDS = 60.0
SEND_SECONDS = 3.0
SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
AGAIN_SECONDS = 5.0
"""An interruption that goes on unheard for so long is repeated: one raised in a callback of C code is lost."""


class Figures(msgspec.Struct, frozen=True, kw_only=True):
    """What one model did. Latencies are in milliseconds, `requests` those of the held-out rows and their repeats."""

    name: str
    about: str
    ref: str
    engine: str
    replicas: int
    form: str
    rows: int
    requests: int
    rows_each: int
    connections: int
    score: Score
    good: bool
    p50_ms: float
    p99_ms: float
    requests_per_second: float
    rows_per_second: float


class Live(msgspec.Struct, frozen=True, kw_only=True):
    """An endpoint, and a file with a request for it."""

    name: str
    url: str
    example: Path


class Stage:
    """A running platform: `play` puts a model on it and sends it its data."""

    def __init__(self, place: Home, seconds: float) -> None:
        self.home = place
        self.live: list[Live] = []
        self._seconds = seconds
        self._settings = load(place)
        self._control = ControlClient(place, timeout=READY_SECONDS + 30)
        self.key: str = self._control.post("/v1/keys", {"name": "demo", "scopes": ["*"]})["key"]

    @property
    def gateway(self) -> str:
        """The gateway's URL."""
        return self._control.get("/v1/status")["gateway"]

    def play(self, prepare: Callable[[Path, Report], Case], report: Report) -> Figures:
        """Train or find a model, package it, deploy it, send it what it has not seen, and judge its answers."""
        case = prepare(homes.work(self.home), report)
        store = open_store(self.home, self._settings)
        try:
            version = push(case.source, name=case.name, store=store, options=case.options, report=report)
        finally:
            store.close()
        report(f"starting {case.replicas} replicas of {version.ref}")
        url = self._deploy(case, version.ref)
        self.live.append(self._example(case, url))
        report(f"sending {case.rows} held-out rows, {case.rows_each} a request, over {case.connections} connections")
        found = self._send(case, url)
        report("judging the answers")
        return figures(case, version.ref, version.engine, found)

    def _deploy(self, case: Case, ref: str) -> str:
        """Declare the endpoint and wait for it. Raises BadPackage, DeadlineExceeded."""
        endpoint = Endpoint(name=case.name, model=ref, replicas=case.replicas, runtime=Runtime(threads=1))
        found: dict[str, Any] = self._control.put(
            f"/v1/endpoints/{case.name}", endpoint, wait=READY_SECONDS, actor="argosy demo"
        )
        status = found["endpoint"]
        if status["state"] == "failed":
            raise BadPackage(status["reason"])
        if status["state"] != "ready":
            raise DeadlineExceeded(f"'{case.name}' is still {status['state']} after {READY_SECONDS:g} s")
        return found["url"]

    def _send(self, case: Case, url: str) -> traffic.Traffic:
        return asyncio.run(
            traffic.send(
                url,
                self.key,
                case.requests(),
                binary=case.form == "binary",
                connections=case.connections,
                seconds=self._seconds,
            )
        )

    def _example(self, case: Case, url: str) -> Live:
        """Keep a request of the model as a file, for curl."""
        body, _ = rest.encode_request(rest.Request(list(case.requests()[0])), binary=False)
        path = homes.work(self.home) / f"{case.name}.json"
        path.write_bytes(body)
        return Live(name=case.name, url=url, example=path)


def figures(case: Case, ref: str, engine: str, found: traffic.Traffic) -> Figures:
    """The numbers of one model."""
    score = case.judge(found.outputs)
    return Figures(
        name=case.name,
        about=case.about,
        ref=ref,
        engine=engine,
        replicas=case.replicas,
        form=case.form,
        rows=case.rows,
        requests=len(found.latencies),
        rows_each=case.rows_each,
        connections=case.connections,
        score=score,
        good=score.good,
        p50_ms=found.milliseconds(50),
        p99_ms=found.milliseconds(99),
        requests_per_second=found.per_second,
        rows_per_second=found.per_second * case.rows_each,
    )


def curl(live: Live, key: str) -> str:
    """A line for a shell that asks the endpoint."""
    data = shlex.quote(f"@{live.example}")
    return f"curl -H 'authorization: Bearer {key}' -H 'content-type: application/json' -d {data} {live.url}"


@contextlib.contextmanager
def stage(folder: Path | None, report: Report, seconds: float = SEND_SECONDS) -> Generator[Stage]:
    """A platform of the demo's own, from its start to the end of everything it started, whatever happens.

    `folder` is its home, or None for a temporary one; each model gets requests for `seconds`. SIGTERM and SIGHUP end
    it as Ctrl-C does. Raises Conflict, and what `argosy up` raises.
    """
    with homes.environment(), homes.home(folder) as place, _endings():
        try:
            place.create()
            homes.work(place).mkdir(exist_ok=True)
            report("starting control API and gateway")
            asyncio.run(detach(place, load(place), report=lambda line: None, module="argosy.console"))
            yield Stage(place, seconds)
        finally:
            _ignore_signals()
            homes.stop(place, report)


@contextlib.contextmanager
def _endings() -> Generator[None]:
    """A signal that asks for an end raises KeyboardInterrupt, unless it is ignored (nohup). Put back afterwards."""

    def interrupted(number: int, frame: FrameType | None) -> None:
        signal.setitimer(signal.ITIMER_REAL, AGAIN_SECONDS)
        raise KeyboardInterrupt

    heeded = [signal.SIGALRM, *(number for number in SIGNALS if signal.getsignal(number) != signal.SIG_IGN)]
    before = {number: signal.signal(number, interrupted) for number in heeded}
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0.0)
        for number, handler in before.items():
            signal.signal(number, handler)


def _ignore_signals() -> None:
    """Nothing interrupts the stopping."""
    for number in (signal.SIGALRM, *SIGNALS):
        signal.signal(number, signal.SIG_IGN)
