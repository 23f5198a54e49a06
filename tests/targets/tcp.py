"""A target whose replicas are reached over TCP with mutual TLS: those of another target, each behind ports of its own.

`python tests/targets/tcp.py real|stand-in` runs `up` with it on the home of the environment.
"""

import asyncio
import contextlib
import ssl
import subprocess
import sys
from collections.abc import Callable, Collection, Mapping
from pathlib import Path

import msgspec

from argosy.platform.platform import local_target
from argosy.platform.up import up
from argosy.spec.address import Address, TlsIdentity
from argosy.spec.errors import ArgosyError
from argosy.spec.revision import Replica, ResourceUsage, Revision, RevisionStatus
from argosy.spec.settings import Home, Settings, home, load
from argosy.store.store import Store
from argosy.targets.base import Capacity, Target
from argosy.targets.launch import COMMAND

TCP_UP = [sys.executable, "-m", "tests.targets.tcp"]
STAND_IN = (sys.executable, "-S", str(Path(__file__).with_name("stand_in.py")))


def identity(folder: Path, name: str = "localhost") -> TlsIdentity:
    """One self-signed certificate in `folder` for both sides, made where there is none."""
    certificate, key = folder / "replica.pem", folder / "replica.key"
    if not certificate.exists():
        folder.mkdir(exist_ok=True)
        kind = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2"]
        whose = ["-subj", f"/CN={name}", "-addext", f"subjectAltName=DNS:{name}"]
        out = ["-keyout", str(key), "-out", str(certificate)]
        subprocess.run(["openssl", "req", "-x509", *kind, *whose, *out], check=True, capture_output=True)
    return TlsIdentity(name=name, authorities=str(certificate), certificate=str(certificate), key=str(key))


def asks_who_calls(mine: TlsIdentity) -> ssl.SSLContext:
    """A server's side that takes only callers which show a certificate of `mine`'s authorities."""
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH, cafile=mine.authorities)
    context.load_cert_chain(mine.certificate, mine.key)
    context.verify_mode = ssl.CERT_REQUIRED
    context.set_alpn_protocols(["h2", "http/1.1"])
    return context


class Relay:
    """A port of 127.0.0.1 whose connections go on to a Unix socket."""

    def __init__(self, path: str) -> None:
        self.path = path
        self._tasks: set[asyncio.Task[None]] = set()

    async def start(self, context: ssl.SSLContext | None = None) -> int:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0, ssl=context)
        return self._server.sockets[0].getsockname()[1]

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        try:
            back, there = await asyncio.open_unix_connection(self.path)
            copies = [asyncio.create_task(copy(reader, there)), asyncio.create_task(copy(back, writer))]
            try:
                await asyncio.wait(copies, return_when=asyncio.FIRST_COMPLETED)
            finally:
                for each in copies:
                    each.cancel()
                there.close()
        except OSError:
            pass
        finally:
            self._tasks.discard(task)
            writer.close()

    def close(self) -> None:
        self._server.close()
        for task in self._tasks:
            task.cancel()


async def copy(source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
    with contextlib.suppress(OSError):
        while data := await source.read(65536):
            sink.write(data)
            await sink.drain()


class TcpTarget:
    """Implements `base.Target`. The sockets of the target behind it are seen by nobody else."""

    def __init__(self, behind: Target, tls: TlsIdentity | None = None) -> None:
        self._behind, self._tls = behind, tls
        self.changed: Callable[[], None] = lambda: None
        behind.changed = self._changed
        self._context = asks_who_calls(tls) if tls else None
        self._relays: dict[str, tuple[str, tuple[Relay, ...], Address, Address]] = {}

    def _changed(self) -> None:
        self.changed()

    async def adopt(self) -> int:
        return await self._behind.adopt()

    async def revisions(self) -> list[Revision]:
        return await self._behind.revisions()

    async def scale(self, revision: Revision, replicas: int) -> None:
        await self._behind.scale(revision, replicas)

    async def endpoints(self, revision: str) -> RevisionStatus:
        found = await self._behind.endpoints(revision)
        there = {each.http.path: each for each in found.replicas}
        for path, (whose, relays, _, _) in list(self._relays.items()):
            if whose == revision and path not in there:
                del self._relays[path]
                for each in relays:
                    each.close()
        replicas = [await self._relayed(each) for each in found.replicas]
        return msgspec.structs.replace(found, replicas=tuple(replicas))

    async def _relayed(self, replica: Replica) -> Replica:
        path = replica.http.path
        if path not in self._relays:
            assert replica.grpc is not None
            relays = Relay(path), Relay(replica.grpc.path)
            http, grpc = [Address(port=await each.start(self._context), tls=self._tls) for each in relays]
            self._relays[path] = replica.revision, relays, http, grpc
        _, _, http, grpc = self._relays[path]
        return msgspec.structs.replace(replica, http=http, grpc=grpc)

    async def remove(self, revision: str) -> None:
        await self._behind.remove(revision)

    async def release(self, replicas: Collection[str]) -> None:
        await self._behind.release(replicas)

    async def retry(self, revision: str) -> None:
        await self._behind.retry(revision)

    async def usage(self) -> Mapping[str, ResourceUsage]:
        return await self._behind.usage()

    async def capacity(self) -> Capacity:
        return await self._behind.capacity()

    async def stop(self) -> None:
        await self._behind.stop()
        self._close()

    async def close(self) -> None:
        await self._behind.close()
        self._close()

    def _close(self) -> None:
        for _, relays, _, _ in self._relays.values():
            for each in relays:
                each.close()
        self._relays.clear()


def tcp_target(home: Home, settings: Settings, store: Store) -> Target:
    command = STAND_IN if "stand-in" in sys.argv else COMMAND
    return TcpTarget(local_target(home, settings, store, command), identity(home.root / "identity"))


if __name__ == "__main__":
    try:
        asyncio.run(up(home(), load(home()), report=print, target=tcp_target))
    except ArgosyError as error:
        sys.exit(error.message)
