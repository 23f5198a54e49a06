"""Whether a replica is alive and ready: probes at its address, and what a row of answers means."""

import asyncio
from typing import Literal

import msgspec

from argosy.process.sockets import connect
from argosy.spec.address import Address

Answer = Literal["yes", "no", "silent", "refused"]
"""200; any other status; no answer in time; nobody listens."""

Verdict = Literal["starting", "ready", "unready", "hung"]


class HealthPolicy(msgspec.Struct, frozen=True, kw_only=True):
    """Seconds. Bad answers make a replica hung once there were `confirm` in a row over so long a time: `unlive` where
    it calls itself dead, `refused` where nobody listens any more (it may be about to end and say why), its engine's
    `hang_timeout` where it is silent. One that has not begun to listen is not: it has its `start_timeout`."""

    confirm: int = 3
    unlive: float = 2.0
    refused: float = 10.0


DEFAULT = HealthPolicy()


class Probe(msgspec.Struct, frozen=True, kw_only=True):
    """One look at a replica at time `now`; `hang_timeout` is how long its engine may legally keep it from answering."""

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


def judge(probe: Probe, state: Health, policy: HealthPolicy = DEFAULT) -> tuple[Verdict, Health]:
    """Fold one probe in. Silence leaves the verdict as it was until it has lasted longer than an engine call may."""
    if probe.live == "yes":
        return _alive(probe, state)
    bad, since = state.bad + 1, state.bad_since if state.bad else probe.now
    began = state.answered is not None or probe.live == "no"
    limit = {"no": policy.unlive, "refused": policy.refused}.get(probe.live, probe.hang_timeout)
    hung = began and bad >= policy.confirm and probe.now - since >= limit
    verdict: Verdict = "hung" if hung else state.verdict
    return verdict, msgspec.structs.replace(state, verdict=verdict, bad=bad, bad_since=since)


def _alive(probe: Probe, state: Health) -> tuple[Verdict, Health]:
    if probe.ready == "silent":
        verdict, since = state.verdict, state.ready_since
    elif probe.ready == "yes":
        verdict, since = "ready", probe.now if state.ready_since is None else state.ready_since
    else:
        verdict, since = "starting" if state.ready_since is None else "unready", None
        verdict = "unready" if state.verdict == "unready" else verdict
    return verdict, msgspec.structs.replace(state, verdict=verdict, ready_since=since, bad=0, answered=probe.now)


async def ask(address: Address, path: str, timeout: float) -> Answer:
    """GET `path` at the address; only the status line is read."""
    try:
        async with asyncio.timeout(timeout):
            return await _get(address, path)
    except TimeoutError:
        return "silent"
    except OSError:
        return "refused"


async def _get(address: Address, path: str) -> Answer:
    reader, writer = await connect(address)
    try:
        writer.write(f"GET {path} HTTP/1.1\r\nHost: replica\r\nConnection: close\r\n\r\n".encode())
        await writer.drain()
        words = (await reader.readline()).split(None, 2)
        return "yes" if len(words) > 1 and words[1] == b"200" else "no" if words else "refused"
    finally:
        writer.close()


async def look(address: Address, *, now: float, hang_timeout: float, timeout: float = 2.0) -> Probe:
    """Ask for liveness and, if it is alive, readiness."""
    live = await ask(address, "/v2/health/live", timeout)
    ready = await ask(address, "/v2/health/ready", timeout) if live == "yes" else live
    return Probe(now=now, live=live, ready=ready, hang_timeout=hang_timeout)
