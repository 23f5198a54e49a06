"""Whether a replica is alive and ready: probes over its Unix socket, and what a row of answers means."""

import asyncio
from typing import Literal

import msgspec

Answer = Literal["yes", "no", "silent", "refused"]
"""200; any other status; no answer in time; nobody listens."""

Verdict = Literal["starting", "ready", "unready", "hung"]


class Policy(msgspec.Struct, frozen=True, kw_only=True):
    """`confirm` bad answers in a row make a replica hung; one that never listens has `start_timeout` seconds."""

    confirm: int = 3
    start_timeout: float = 600.0


DEFAULT = Policy()


class Probe(msgspec.Struct, frozen=True, kw_only=True):
    """One look at a replica at time `now`; `hang_timeout` is how long its engine may legally keep it from answering."""

    now: float
    live: Answer
    ready: Answer
    hang_timeout: float = 60.0


class Health(msgspec.Struct, frozen=True, kw_only=True):
    """What is remembered. `answered`: when it last answered at all; `ready_since`: when its present readiness began."""

    verdict: Verdict = "starting"
    born: float
    answered: float | None = None
    ready_since: float | None = None
    bad: int = 0


def judge(probe: Probe, state: Health, policy: Policy = DEFAULT) -> tuple[Verdict, Health]:
    """Fold one probe in. Silence leaves the verdict as it was until it has lasted longer than an engine call may."""
    if probe.live == "yes":
        return _alive(probe, state)
    bad = state.bad + 1
    if probe.live == "silent":
        since = state.answered if state.answered is not None else state.born
        limit = probe.hang_timeout if state.answered is not None else policy.start_timeout
        hung = bad >= policy.confirm and probe.now - since > limit
    elif state.answered is None:
        hung = probe.live == "refused" and probe.now - state.born > policy.start_timeout
    else:
        hung = bad >= policy.confirm
    verdict: Verdict = "hung" if hung else state.verdict
    answered = probe.now if probe.live == "no" else state.answered
    return verdict, msgspec.structs.replace(state, verdict=verdict, bad=bad, answered=answered)


def _alive(probe: Probe, state: Health) -> tuple[Verdict, Health]:
    if probe.ready == "silent":
        verdict, since = state.verdict, state.ready_since
    elif probe.ready == "yes":
        verdict, since = "ready", probe.now if state.ready_since is None else state.ready_since
    else:
        verdict, since = "starting" if state.ready_since is None else "unready", None
        verdict = "unready" if state.verdict == "unready" else verdict
    return verdict, msgspec.structs.replace(state, verdict=verdict, ready_since=since, bad=0, answered=probe.now)


async def ask(socket: str, path: str, timeout: float) -> Answer:
    """GET `path` over the Unix socket; only the status line is read."""
    try:
        async with asyncio.timeout(timeout):
            return await _get(socket, path)
    except TimeoutError:
        return "silent"
    except OSError:
        return "refused"


async def _get(socket: str, path: str) -> Answer:
    reader, writer = await asyncio.open_unix_connection(socket)
    try:
        writer.write(f"GET {path} HTTP/1.1\r\nHost: replica\r\nConnection: close\r\n\r\n".encode())
        await writer.drain()
        words = (await reader.readline()).split(None, 2)
        return "yes" if len(words) > 1 and words[1] == b"200" else "no" if words else "refused"
    finally:
        writer.close()


async def look(socket: str, *, now: float, hang_timeout: float, timeout: float = 2.0) -> Probe:
    """Ask for liveness and, if it is alive, readiness."""
    live = await ask(socket, "/v2/health/live", timeout)
    ready = await ask(socket, "/v2/health/ready", timeout) if live == "yes" else live
    return Probe(now=now, live=live, ready=ready, hang_timeout=hang_timeout)
