"""Whether a replica is alive and ready: probes at its address, and what a row of answers means."""

import asyncio
import time
from typing import Literal

import msgspec

from argosy.process.sockets import connect
from argosy.spec.address import Address

Answer = Literal["yes", "no", "silent", "refused"]
"""200; any other status; no answer in time; nobody listens."""

Verdict = Literal["starting", "ready", "unready", "hung"]


CONFIRM = 3
"""Bad answers in a row, over one of the times below, that make a replica hung."""
UNLIVE = 2.0
"""Seconds for one that calls itself dead."""
REFUSED = 10.0
"""Seconds for one that no longer listens: it may be about to end and say why."""


class Probe(msgspec.Struct, frozen=True, kw_only=True):
    """Answers of a replica at time `now`; `hang_timeout` is how long its engine may legally keep it from answering."""

    now: float
    live: Answer
    ready: Answer
    hang_timeout: float = 60.0


class Health(msgspec.Struct, frozen=True, kw_only=True):
    """What is remembered. `answered`: when it last was alive; `ready_since`: when its present readiness began; `bad`
    answers there were in a row, since `bad_since`."""

    verdict: Verdict = "starting"
    born: float
    answered: float | None = None
    ready_since: float | None = None
    bad: int = 0
    bad_since: float = 0.0


def update(probe: Probe, state: Health) -> Health:
    """The health after one more probe. A replica that does not answer stays what it was until that has lasted for
    longer than an engine call may. One that has not begun to listen is not hung: it has its `start_timeout`."""
    if probe.live != "yes":
        bad, since = state.bad + 1, state.bad_since if state.bad else probe.now
        began = state.answered is not None or probe.live == "no"
        limit = {"no": UNLIVE, "refused": REFUSED}.get(probe.live, probe.hang_timeout)
        hung = began and bad >= CONFIRM and probe.now - since >= limit
        return msgspec.structs.replace(state, verdict="hung" if hung else state.verdict, bad=bad, bad_since=since)
    verdict, since = state.verdict, state.ready_since
    if probe.ready == "yes":
        verdict, since = "ready", probe.now if since is None else since
    elif probe.ready != "silent":
        verdict, since = "starting" if since is None and verdict != "unready" else "unready", None
    return msgspec.structs.replace(state, verdict=verdict, ready_since=since, bad=0, answered=probe.now)


async def ask(address: Address, path: str, timeout: float, method: str = "GET") -> Answer:
    """A request without a body for `path` at the address; only the status line is read."""
    try:
        async with asyncio.timeout(timeout):
            reader, writer = await connect(address)
            try:
                head = f"{method} {path} HTTP/1.1\r\nHost: replica\r\nContent-Length: 0\r\n"
                writer.write(f"{head}Connection: close\r\n\r\n".encode())
                await writer.drain()
                words = (await reader.readline()).split(None, 2)
            finally:
                writer.transport.abort()  # a farewell of TLS would be waited for
    except TimeoutError:
        return "silent"
    except OSError:
        return "refused"
    return "yes" if len(words) > 1 and words[1] == b"200" else "no" if words else "refused"


async def probe(address: Address, hang_timeout: float, timeout: float = 2.0) -> Probe:
    """Ask for liveness and, if it is alive, readiness."""
    live = await ask(address, "/v2/health/live", timeout)
    ready = await ask(address, "/v2/health/ready", timeout) if live == "yes" else live
    return Probe(now=time.monotonic(), live=live, ready=ready, hang_timeout=hang_timeout)
