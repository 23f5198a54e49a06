"""A replica as far as its supervisor can tell: health, SIGTERM, crashes and hangs on demand.

Its package's file `behaviour` says how it starts: `ok`, `refuse` (status 7), `crash`, `never` (not ready), `slow`, or
`slow SECONDS`.
GET /crash and /hang change it while it runs; anything else is answered 200 with its replica's name.
"""

import asyncio
import json
import os
import signal
import ssl
import sys
from pathlib import Path


async def main(config: dict) -> None:
    behaviour = (Path(config["models"][0]["package"]) / "behaviour").read_text().strip()
    if behaviour == "refuse":
        print("golden example 3 of output 'label': got 4, want 7", file=sys.stderr)
        sys.exit(7)
    if behaviour == "crash":
        print("Traceback\nRuntimeError: no such luck", file=sys.stderr)
        sys.exit(1)
    if behaviour.startswith("slow"):
        await asyncio.sleep(float(behaviour[4:] or 1))
    state = {"hung": False}

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = (await reader.readuntil(b"\r\n\r\n")).lower()
        path = head.split()[1].decode()
        if b"content-length:" in head:
            await reader.readexactly(int(head.split(b"content-length:")[1].split(None, 1)[0]))
        if path == "/crash":
            os._exit(3)
        state["hung"] |= path == "/hang"
        bad = (state["hung"] and path.endswith("/live")) or (behaviour == "never" and path.endswith("/ready"))
        body = config["replica"].encode()
        writer.write(
            b"HTTP/1.1 %d X\r\ncontent-length: %d\r\nconnection: close\r\n\r\n" % (503 if bad else 200, len(body))
            + body
        )
        writer.close()

    http = config["http"]
    if "path" in http:
        server = await asyncio.start_unix_server(answer, http["path"])
    else:
        server = await asyncio.start_server(answer, http["host"], http["port"], ssl=tls(http["tls"]["files"]))
    stopped = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, lambda: state["hung"] or stopped.set())
    await stopped.wait()
    server.close()


def tls(files: str) -> ssl.SSLContext:
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH, cafile=f"{files}/authorities.pem")
    context.load_cert_chain(f"{files}/replica.pem")
    context.verify_mode = ssl.CERT_REQUIRED
    return context


asyncio.run(main(json.loads(Path(sys.argv[1]).read_text())))
