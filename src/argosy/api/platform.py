"""`/v1/status`, `/v1/replicas`, `/v1/logs`, `/v1/shutdown`: the platform itself."""

import asyncio
import os
import re
from collections.abc import AsyncIterator
from pathlib import Path

import msgspec

import argosy
from argosy.api.route import Call, Route
from argosy.process import tail
from argosy.spec.errors import InvalidArgument, NotFound
from argosy.spec.recorder import RecorderReport, read_report
from argosy.spec.revision import ResourceUsage
from argosy.spec.status import ReplicaStatus

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,127}")
CHUNK = 64 * 1024
POLL = 0.2


class Status(msgspec.Struct, frozen=True, kw_only=True):
    """The platform. `error` is what keeps the controller from its work, if anything does; `recorder` is what the
    recorder said last, where one runs."""

    version: str
    home: str
    pid: int
    started: float
    gateway: str
    endpoints: int
    ready: int
    replicas: int
    error: str = ""
    recorder: RecorderReport | None = None


class Stopping(msgspec.Struct, frozen=True, kw_only=True):
    """The platform drains and ends; `pid` is gone when it has."""

    pid: int


class Lines(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The last `lines` of a log, and with `follow` everything that is written after them."""

    lines: int = 100
    follow: bool = False

    def __post_init__(self) -> None:
        if not 0 <= self.lines <= 100_000:
            raise InvalidArgument(f"lines must be 0 to 100000, not {self.lines}")


async def status(call: Call) -> Status:
    """How the platform stands."""
    services, view = call.services, call.services.controller.view
    return Status(
        version=argosy.__version__,
        home=str(services.home.root),
        pid=os.getpid(),
        started=services.started,
        gateway=services.controller.gateway_url,
        endpoints=len(view.endpoints),
        ready=sum(each.state == "ready" for each in view.endpoints.values()),
        replicas=len(view.replicas),
        error=view.error,
        recorder=read_report(services.home),
    )


async def replicas(call: Call) -> list[ReplicaStatus]:
    """Every replica that runs, by id."""
    await call.services.controller.settled()
    found = call.services.controller.view.replicas
    used, none = await call.services.controller.target.usage(), ResourceUsage()
    return [
        msgspec.structs.replace(each, memory=its.memory, pid=its.pid)
        for each in found
        for its in (used.get(each.id, none),)
    ]


async def shutdown(call: Call) -> Stopping:
    """Begin the orderly end."""
    call.services.stop()
    return Stopping(pid=os.getpid())


async def logs(call: Call) -> AsyncIterator[bytes]:
    """The log of a replica, `gateway` or `control`. Raises NotFound."""
    name = call.path["replica"]
    path = call.services.home.logs / f"{name}.log"
    if not _NAME.fullmatch(name) or not path.is_file():
        raise NotFound(f"there is no log of '{name[:80]}'")
    return follow_lines(path, call.query, call.services.ending)


async def follow_lines(path: Path, wanted: Lines, ending: asyncio.Event) -> AsyncIterator[bytes]:
    """The last lines of a file, and with `follow` what is written after them, until `ending`."""
    position, last = await asyncio.to_thread(tail.lines, path, wanted.lines)
    yield last
    while wanted.follow and not ending.is_set():
        position, more = await asyncio.to_thread(_after, path, position)
        if more:
            yield more
        else:
            await asyncio.sleep(POLL)


def _after(path: Path, position: int) -> tuple[int, bytes]:
    """What was written after `position`; from the beginning again where the log was emptied."""
    with path.open("rb") as file:
        end = file.seek(0, os.SEEK_END)
        file.seek(position if position <= end else 0)
        more = file.read(CHUNK)
        return file.tell(), more


ROUTES = (
    Route(method="GET", path="/v1/status", handler=status, summary="The platform", answer=Status),
    Route(method="GET", path="/v1/replicas", handler=replicas, summary="Replicas", answer=list[ReplicaStatus]),
    Route(method="GET", path="/v1/logs/{replica}", handler=logs, summary="A log", query=Lines),
    Route(
        method="POST", path="/v1/shutdown", handler=shutdown, summary="Stop the platform", answer=Stopping, status=202
    ),
)
