"""The API of devices at a port of this machine, for agents that are real; and servers that are no such thing."""

import asyncio
import contextlib
import datetime as dt
import ipaddress
import socket
import ssl
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from starlette.applications import Starlette

from argosy.api.devices import DeviceApi
from argosy.api.server import ApiServer
from argosy.spec.settings import ControlSettings
from argosy.store.store import Store


@contextmanager
def platform(store: Store, api: DeviceApi | None = None, tls: ssl.SSLContext | None = None) -> Iterator[str]:
    """Answers devices until the end of the block; its URL."""
    loop, api = asyncio.new_event_loop(), api or DeviceApi(store, lambda *_: None)
    app = Starlette(routes=api.routes())
    started, urls = threading.Event(), list[str]()
    ended = asyncio.Event()

    async def serve() -> None:
        server = ApiServer(app, ControlSettings(port=0), tls)
        urls.append(server.listen())
        server.task = asyncio.create_task(server.run())
        started.set()
        await ended.wait()
        await server.stop()

    thread = threading.Thread(target=lambda: loop.run_until_complete(serve()))
    thread.start()
    try:
        assert started.wait(60)
        yield urls[0]
    finally:
        loop.call_soon_threadsafe(ended.set)
        thread.join()
        loop.run_until_complete(loop.shutdown_default_executor())
        loop.close()


@contextmanager
def answering(say: Callable[[socket.socket, bytes], None]) -> Iterator[str]:
    """A server that reads a request and says whatever `say` does; its URL."""
    with socket.create_server(("127.0.0.1", 0)) as bound:
        bound.settimeout(0.1)
        over = threading.Event()

        def serve() -> None:
            while not over.is_set():
                with contextlib.suppress(OSError):
                    taken, _ = bound.accept()
                    with taken:
                        taken.settimeout(5)
                        say(taken, taken.recv(65536))
                        taken.shutdown(socket.SHUT_WR)  # close(2) alone resets what is on its way, where more has come
                        while taken.recv(65536):
                            pass

        thread = threading.Thread(target=serve)
        thread.start()
        try:
            yield f"http://127.0.0.1:{bound.getsockname()[1]}"
        finally:
            over.set()
            thread.join()


def certified(folder: Path, begins: dt.datetime, days: int) -> tuple[ssl.SSLContext, str]:
    """A certificate of this machine that signs itself, as a server has it, and as its clients do."""
    key, name = ec.generate_private_key(ec.SECP256R1()), x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "here")])
    ends = begins + dt.timedelta(days=days)
    made = (
        x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number(), begins, ends)
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]), critical=False)
        .sign(key, hashes.SHA256())
    )
    pem = made.public_bytes(serialization.Encoding.PEM)
    secret = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    (folder / "server.pem").write_bytes(secret + pem)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(folder / "server.pem")
    return context, pem.decode()
