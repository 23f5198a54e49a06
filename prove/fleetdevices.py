"""Devices that are simulated on real sockets: `python -m prove.fleetdevices URL FLEET TOKEN NUMBER BAD TRIAL`.

Each has a key of its own, enrols, begins a session, asks what to run, fetches it, and reports a trial and its end, as
the agent does; an update whose reference is BAD is rolled back. TRIAL: seconds that an update is
tried, on average. Most ask again after the time that they are told, some
wait for news on a connection of their own; the others share connections, since the kernel would have few ports left.
Addresses are spread over 127.0.0.0/8, as those of sites would be. What it counts is a line of JSON each second.
"""

import asyncio
import json
import random
import sys
import time
from collections import Counter
from typing import Any, TypeVar
from urllib.parse import urlsplit

import msgspec
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec

from argosy.edge import statement, wire

S = TypeVar("S")
POOL, AT_ONCE, WAITING = 96, 48, 300
FACTS = wire.Facts(machine="aarch64", agent="0.1.0", python="3.13.1", onnxruntime="1.24.1", memory=2**30, disk=2**33)
COUNTED: Counter[str] = Counter()


class Refused(Exception):
    """An answer above 399."""


class Connection:
    """One that is kept open, and opened again where it was closed."""

    def __init__(self, host: str, port: int, address: str) -> None:
        self.host, self.port, self.address = host, port, address
        self.streams: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None

    async def ask(self, method: str, path: str, body: bytes, session: str) -> bytes:
        head = f"{method} {wire.PREFIX}{path} HTTP/1.1\r\nhost: {self.host}:{self.port}\r\n"
        head += f"content-length: {len(body)}\r\n" + (f"{wire.SESSION}: {session}\r\n" if session else "") + "\r\n"
        for again in (True, False):
            try:
                if self.streams is None:
                    opening = asyncio.open_connection(self.host, self.port, local_addr=(self.address, 0), limit=2**20)
                    self.streams = await opening
                reader, writer = self.streams
                writer.write(head.encode() + body)
                status, answer = await _answer(reader)
            except (OSError, asyncio.IncompleteReadError):
                self.streams = None
                COUNTED["connections lost"] += 1
                if not again:
                    raise
            else:
                COUNTED["requests"] += 1
                if status > 399:
                    COUNTED[f"status {status}"] += 1
                    raise Refused(f"{method} {path[:40]}: {status} {answer[:200]!r}")
                return answer
        raise AssertionError


async def _answer(reader: asyncio.StreamReader) -> tuple[int, bytes]:
    head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").lower()
    _, _, length = head.partition("content-length:")
    if length:
        return int(head[9:12]), await reader.readexactly(int(length.split("\r\n", 1)[0]))
    body = b""
    while size := int(await reader.readline(), 16):
        body += await reader.readexactly(size)
        await reader.readline()
    await reader.readline()
    return int(head[9:12]), body


class Fleet:
    """All devices, and the connections that they share."""

    def __init__(self, url: str, name: str, token: str, bad: str, trial: float) -> None:
        parts = urlsplit(url)
        self.host, self.port, self.name, self.token = parts.hostname or "", parts.port or 80, name, token
        self.bad, self.trial = bad, trial
        self.pool: asyncio.LifoQueue[Connection] = asyncio.LifoQueue()
        for each in range(POOL):
            self.pool.put_nowait(self.connection(each))
        self.beginning = asyncio.Semaphore(AT_ONCE)

    def connection(self, number: int) -> Connection:
        return Connection(self.host, self.port, f"127.{1 + number % 200}.{number // 200 % 250}.7")


class Device:
    """One of them."""

    def __init__(self, fleet: Fleet, number: int) -> None:
        self.fleet, self.id, self.number, self.said, self.index = fleet, f"d{number:05}", number, 0, 0
        self.own = fleet.connection(number) if number < WAITING else None
        self.session, self.ratchet, self.until = "", "", 0.0
        self.key = ec.generate_private_key(ec.SECP256R1())

    async def ask(self, method: str, path: str, body: object = None, own: bool = False) -> bytes:
        data = msgspec.json.encode(body) if body is not None else b""
        if own and self.own is not None:
            return await self.own.ask(method, path, data, self.session)
        connection = await self.fleet.pool.get()
        try:
            return await connection.ask(method, path, data, self.session)
        finally:
            self.fleet.pool.put_nowait(connection)

    async def read(self, kind: type[S], method: str, path: str, body: object = None, own: bool = False) -> S:
        return msgspec.json.decode(await self.ask(method, path, body, own), type=kind)

    def sign(self, data: bytes) -> bytes:
        return self.key.sign(data, ec.ECDSA(hashes.SHA256()))

    async def nonce(self) -> str:
        return (await self.read(wire.Challenge, "POST", "/challenge", wire.ChallengeRequest(device=""))).nonce

    async def begin(self) -> None:
        """Enrol, once, and a session."""
        nonce, fleet = await self.nonce(), self.fleet
        if not self.until:
            asked = wire.Enrolment(
                fleet=fleet.name,
                public_key=statement.pem(self.key.public_key()),
                nonce=nonce,
                proof=self.sign(statement.enrolment_data(nonce, fleet.name)),
                token=fleet.token,
                name=self.id,
                facts=FACTS,
            )
            await self.ask("POST", "/enrol", asked)
            nonce = await self.nonce()
        proof = self.sign(statement.session_data(nonce, self.id, self.ratchet))
        told = wire.SessionRequest(device=self.id, nonce=nonce, ratchet=self.ratchet, proof=proof, facts=FACTS)
        found = await self.read(wire.DeviceSession, "POST", "/session", told)
        self.session, self.ratchet, self.until = found.token, found.ratchet, time.monotonic() + found.seconds - 60

    async def live(self) -> None:
        """For ever: what an agent does."""
        after = "0"
        while True:
            try:
                if time.monotonic() > self.until:
                    async with self.fleet.beginning:
                        await self.begin()
                    COUNTED["sessions"] += 1
                    await asyncio.sleep(random.random() * 1.5 * self.fleet.trial)
                wait = f"&wait={50 if self.own else 0}"
                found = await self.read(wire.Desired, "GET", f"/desired?after={after}{wait}", own=True)
                if found.update is not None and not found.hold:
                    update = msgspec.json.decode(found.update.payload, type=wire.Update)
                    if update.index > self.index:
                        await self.take(update)
                after = found.revision
                if self.own is None:
                    await asyncio.sleep(found.poll * (0.8 + 0.4 * random.random()))
            except (Refused, OSError, asyncio.IncompleteReadError) as error:
                COUNTED["troubles"] += 1
                if COUNTED["troubles"] < 20:
                    print(f"{self.id}: {error!r}", file=sys.stderr, flush=True)
                await asyncio.sleep((0.25 + 0.5 * random.random()) * self.fleet.trial)

    async def take(self, update: wire.Update) -> None:
        """Fetch an update, try it, commit it or not."""
        plan = await self.read(wire.TransferPlan, "GET", f"/plan?package={update.package}")
        for ways in plan.files.values():
            COUNTED["bytes"] += len(await self.ask("GET", f"/blobs/{ways[0].blob}"))
        cells = (0,) * 6 + (90, 10)
        arm = wire.Arm(requests=100, errors=0, latency=cells)
        trial = wire.Quality(stable=arm, candidate=arm, compared=100, agreed=100)
        await self.report(phase="trial", index=update.index, candidate=update.package)
        await asyncio.sleep(random.uniform(0.5, 1.5) * self.fleet.trial)
        good = update.ref != self.fleet.bad
        kind: Any = "committed" if good else "rolled_back"
        event = wire.DeviceEvent(
            at=time.time(), boot=1, after=1.0, kind=kind, index=update.index, package=update.package, detail="as told"
        )
        more: dict[str, Any] = {"committed": update.package} if good else {}
        await self.report(phase="idle", index=update.index, quality=trial, events=(event,), **more)
        self.index = update.index
        COUNTED[kind] += 1

    async def report(self, **said: Any) -> None:
        self.said += 1
        await self.ask("POST", "/report", wire.AgentReport(number=self.said, boot=1, **said))


async def main(url: str, name: str, token: str, devices: int, bad: str, trial: float) -> None:
    """Until it is killed."""
    fleet = Fleet(url, name, token, bad, trial)
    tasks = [asyncio.create_task(Device(fleet, number).live()) for number in range(devices)]
    while tasks:
        await asyncio.sleep(1)
        print(json.dumps(COUNTED), flush=True)


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], sys.argv[2], sys.argv[3], int(sys.argv[4]), sys.argv[5], float(sys.argv[6])))
