"""`/v1/status`, `/v1/replicas`, `/v1/logs`, `/v1/shutdown`: the platform itself."""

import asyncio
import os
import re
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Annotated

import msgspec

import argosy
from argosy.api.route import Route, Services
from argosy.process import tail
from argosy.spec.errors import NotFound
from argosy.spec.recorder import RecorderReport, read_report
from argosy.spec.revision import ResourceUsage
from argosy.spec.status import ReplicaStatus

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,127}")
POLL = 0.2


class Status(msgspec.Struct, frozen=True, kw_only=True):
    """The platform. `error` is what keeps the controller from its work, if anything does; `recorder` is the recorder's
    last report, where one runs; `away` says of targets, by name, why their place is not heard."""

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
    away: dict[str, str] = {}


class Stopping(msgspec.Struct, frozen=True, kw_only=True):
    """The platform drains and ends; `pid` is gone when it has."""

    pid: int


class Lines(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The last `lines` of a log, and with `follow` everything that is written after them."""

    lines: Annotated[int, msgspec.Meta(ge=0, le=100_000)] = 100
    follow: bool = False


async def status(services: Services) -> Status:
    """How the platform is."""
    view = services.controller.view
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
        away={name: each.why for name, each in services.targets.away().items()},
    )


async def replicas(services: Services) -> list[ReplicaStatus]:
    """Every replica that runs, by id."""
    await services.controller.settled()
    found = services.controller.view.replicas
    used, none = await services.targets.usage(), ResourceUsage()
    return [
        msgspec.structs.replace(each, memory=its.memory, pid=its.pid)
        for each in found
        for its in (used.get(each.id, none),)
    ]


async def shutdown(services: Services) -> Stopping:
    """Begin the orderly end."""
    services.stop()
    return Stopping(pid=os.getpid())


async def logs(services: Services, replica: str, query: Lines) -> AsyncIterator[bytes]:
    """The log of a replica, `gateway` or `control`. Raises NotFound."""
    path = services.home.logs / f"{replica}.log"
    if not _NAME.fullmatch(replica):
        raise NotFound(f"there is no log of '{replica[:80]}'")
    if path.is_file():
        return follow_lines(path, query, services.ending)
    if (found := services.targets.log(replica, query.lines, follow=query.follow)) is None:
        raise NotFound(f"there is no log of '{replica[:80]}'")
    return _until(found, services.ending)


async def _until(found: AsyncIterator[bytes], ending: asyncio.Event) -> AsyncIterator[bytes]:
    """What comes before `ending`."""
    over = asyncio.create_task(ending.wait())
    chunk: asyncio.Task[bytes] | None = None
    try:
        while not ending.is_set():
            chunk = asyncio.ensure_future(anext(found))
            await asyncio.wait((chunk, over), return_when=asyncio.FIRST_COMPLETED)
            if not chunk.done():
                return
            yield chunk.result()
    except StopAsyncIteration:
        return
    finally:
        for task in (over, chunk):
            if task is not None:
                task.cancel()


async def follow_lines(path: Path, wanted: Lines, ending: asyncio.Event) -> AsyncIterator[bytes]:
    """The last lines of a file, and with `follow` what is written after them, until `ending`."""
    position, last = await asyncio.to_thread(tail.lines, path, wanted.lines)
    yield last
    if not wanted.follow:
        return
    with tail.Follower(path, position) as follower:
        while not ending.is_set():
            if more := await asyncio.to_thread(follower.read):
                yield more
            else:
                await asyncio.sleep(POLL)


ROUTES = (
    Route("GET", "/v1/status", status, "The platform"),
    Route("GET", "/v1/replicas", replicas, "Replicas"),
    Route("GET", "/v1/logs/{replica}", logs, "A log"),
    Route("POST", "/v1/shutdown", shutdown, "Stop the platform", status=202),
)
