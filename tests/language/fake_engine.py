"""An instant stand-in for the server of a language engine: OpenAI's API over HTTP/1.1, as llama.cpp's and vLLM's.

    python -m tests.language.fake_engine --uds /tmp/e.sock --tokens 16

A token of a prompt is four bytes of it; answers are the words `w0 w1 w2 …`, one token each. Its prefix cache holds
blocks of 16 tokens, least recently used out first. A request may say under `fake` what holds for it alone, by the names
of the options: `{"model": "m", "messages": […], "fake": {"fault": "die", "after": 3}}`. `GET /fake` tells what it has
seen and counted.
"""

import argparse
import asyncio
import base64
import hashlib
import json
import os
import signal
import socket
import struct
import subprocess
import sys
import time
from collections.abc import Generator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any, cast

import httptools
import httpx

from tests.language.fake_answers import Engine, Generation, Options, prompt_of, tokens_of

ROOT = Path(__file__).parents[2]


class Connection(asyncio.Protocol):
    """One connection: requests one after another."""

    def __init__(self, engine: Engine) -> None:
        self.engine, self.parser = engine, httptools.HttpRequestParser(self)
        self.task: asyncio.Task[None] | None = None
        self.generation: Generation | None = None
        self.resume = asyncio.Event()
        self.resume.set()
        self._start()

    def _start(self) -> None:
        self.path, self.headers, self.body = b"", dict[str, str](), bytearray()

    # What the parser and the loop call.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)
        transport.set_write_buffer_limits(65536)

    def data_received(self, data: bytes) -> None:
        try:
            self.parser.feed_data(data)
        except httptools.HttpParserError:
            self.transport.close()

    def connection_lost(self, exc: Exception | None) -> None:
        self.resume.set()
        if self.task is not None and not self.task.done():
            self.task.cancel()
            self.engine.counts["aborted"] += 1

    def pause_writing(self) -> None:
        self.resume.clear()

    def resume_writing(self) -> None:
        self.resume.set()

    def on_message_begin(self) -> None:
        self._start()

    def on_url(self, url: bytes) -> None:
        self.path += url

    def on_header(self, name: bytes, value: bytes) -> None:
        self.headers[name.decode().lower()] = value.decode()

    def on_body(self, body: bytes) -> None:
        self.body += body

    def on_message_complete(self) -> None:
        if not self.engine.hung:
            request = self._handle(self.path.decode().partition("?")[0], bytes(self.body), self.headers)
            self.task = asyncio.ensure_future(request)

    # Answers.

    def send(self, value: object, status: int = 200, kind: str = "application/json") -> None:
        data = value.encode() if isinstance(value, str) else json.dumps(value, separators=(",", ":")).encode()
        head = f"HTTP/1.1 {status} X\r\ncontent-type: {kind}\r\ncontent-length: {len(data)}\r\n\r\n"
        self.transport.write(head.encode() + data)

    def refuse(self, status: int, message: str, kind: str = "invalid_request_error") -> None:
        self.send({"error": {"message": message, "type": kind, "param": None, "code": status}}, status)

    async def _handle(self, path: str, raw: bytes, headers: Mapping[str, str]) -> None:
        if not raw and self._told(path):
            return
        try:
            body: dict[str, Any] = json.loads(raw)
        except ValueError:
            self.refuse(400, "the body is not JSON")
            return
        self.engine.counts["requests"] += 1
        self.engine.seen.append({"path": path, "headers": dict(headers), "body": body})
        if ":" in str(body.get("model")) and body["model"] not in self.engine.adapters:
            self.refuse(404, f"The model `{body['model']}` does not exist.", "NotFoundError")
            return
        match path:
            case "/v1/chat/completions" | "/v1/completions":
                await self._generate(Generation(self.engine, path, body))
            case "/v1/responses":
                await self._respond(Generation(self.engine, path, body))
            case "/v1/embeddings":
                self._embed(body)
            case "/tokenize":
                self.send({"tokens": list(range(tokens_of(str(body.get("content") or body.get("prompt")).encode())))})
            case "/apply-template":
                self.send({"prompt": prompt_of(body, chat=True).decode()})
            case "/v1/load_lora_adapter":
                self.engine.adapters[str(body["lora_name"])] = 1.0
                self.send("Success: LoRA adapter added successfully.", kind="text/plain")
            case "/v1/unload_lora_adapter":
                self.engine.adapters.pop(str(body["lora_name"]), None)
                self.send("Success: LoRA adapter removed successfully.", kind="text/plain")
            case _:
                self.refuse(404, "File Not Found", "not_found_error")

    def _told(self, path: str) -> bool:
        """Answer what needs no body."""
        engine, told = self.engine, None
        match path:
            case "/health" | "/v1/health":
                if engine.loading:
                    self.refuse(503, "Loading model", "unavailable_error")
                    return True
                told = {"status": "ok"}
            case "/fake":
                about = {"options": asdict(engine.options), "adapters": [*engine.adapters]}
                told = {**engine.counts, "seen": list(engine.seen), **about}
            case "/metrics":
                self.send(engine.metrics(), kind="text/plain")
                return True
            case "/v1/models":
                data = [{"id": engine.options.model, "object": "model", "created": 0, "owned_by": "fake"}]
                told = {"object": "list", "data": data}
            case "/slots":
                told = [{"id": n, "is_processing": n < engine.counts["running"]} for n in range(engine.options.slots)]
            case "/lora-adapters":
                told = [{"id": n, "path": name, "scale": 0.0} for n, name in enumerate(engine.adapters)]
            case "/sleep" | "/wake_up":
                engine.asleep = path == "/sleep"
                engine.seen.append({"path": path, "headers": {}, "body": {}})
                self.send("", kind="text/plain")
                return True
            case _:
                return False
        self.send(told)
        return True

    def _embed(self, body: dict[str, Any]) -> None:
        given: Any = body["input"]
        inputs = cast("list[Any]", given) if isinstance(given, list) else [given]
        counted = sum(tokens_of(str(each).encode()) for each in inputs)
        self.engine.counts["input"] += counted
        rows = [[float(byte) for byte in hashlib.md5(str(each).encode()).digest()[:4]] for each in inputs]
        data: list[dict[str, Any]] = []
        for index, row in enumerate(rows):
            coded = (
                base64.b64encode(struct.pack("<4f", *row)).decode() if body.get("encoding_format") == "base64" else row
            )
            data.append({"object": "embedding", "index": index, "embedding": coded})
        usage = {"prompt_tokens": counted, "total_tokens": counted}
        self.send({"object": "list", "model": body.get("model"), "data": data, "usage": usage})

    async def _respond(self, one: Generation) -> None:
        async for _ in one.steps():
            pass
        text = " ".join(f"w{number}" for number in range(one.output))
        content: list[dict[str, Any]] = [{"type": "output_text", "text": text, "annotations": []}]
        output = [{"type": "message", "id": "msg_1", "role": "assistant", "status": "completed", "content": content}]
        usage = {
            "input_tokens": one.input,
            "input_tokens_details": {"cached_tokens": one.cached},
            "output_tokens": one.output,
            "output_tokens_details": {"reasoning_tokens": 0},
            "total_tokens": one.input + one.output,
        }
        top = {"id": f"resp_{one.id}", "object": "response", "created_at": int(time.time()), "status": "completed"}
        self.send({**top, "model": one.body.get("model"), "output": output, "usage": usage})

    async def _generate(self, one: Generation) -> None:
        if one.body.get("echo"):
            count = len(one.body["prompt"])
            choice = {"text": "", "logprobs": {"token_logprobs": [None, *[-1.0] * count]}, "finish_reason": "length"}
            self.send({"choices": [choice], "usage": one.usage})
            return
        if self.engine.asleep:
            self.refuse(503, "the engine sleeps", "unavailable_error")
            return
        if one.options.fault == "error":
            self.refuse(500, "the engine failed", "server_error")
            return
        if one.input > one.options.context:
            message = f"request ({one.input} tokens) exceeds the available context size ({one.options.context} tokens)"
            self.refuse(400, message, "exceed_context_size_error")
            return
        if not one.body.get("stream"):
            async for _ in one.steps():
                pass
            self.send(one.answer())
            return
        started = False
        async for size in one.steps():
            if not started:
                self.transport.write(
                    b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n"
                )
                started = True
            self.chunk(one.event(one.text(one.output - size)))
            await self.resume.wait()
        rest = one.event("", one.finish)
        if one.body.get("stream_options", {}).get("include_usage"):
            rest += one.event("", last=True)
        self.chunk(rest + b"data: [DONE]\n\n")
        self.transport.write(b"0\r\n\r\n")

    def chunk(self, data: bytes) -> None:
        self.transport.write(f"{len(data):x}\r\n".encode() + data + b"\r\n")


async def serve(options: Options, uds: str, port: int, adapters: Sequence[str] = ()) -> None:
    """Until SIGTERM; then what is being answered is answered."""
    loop, engine = asyncio.get_running_loop(), Engine(options)
    engine.adapters = {each.partition("=")[0]: 1.0 for each in adapters}
    stop = asyncio.Event()
    loop.add_signal_handler(signal.SIGTERM, stop.set)
    if uds:
        server = await loop.create_unix_server(lambda: Connection(engine), uds, backlog=4096)
    else:
        server = await loop.create_server(lambda: Connection(engine), "127.0.0.1", port, backlog=4096)
    await stop.wait()
    server.close()
    while engine.counts["running"] or engine.counts["waiting"]:
        await asyncio.sleep(0.01)
    await asyncio.sleep(0.01)


def arguments(parser: argparse.ArgumentParser) -> None:
    """An option for each field."""
    parser.add_argument("--uds", default="")
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--lora-modules", nargs="*", default=[])
    for each in fields(Options):
        default = getattr(Options(), each.name)
        parser.add_argument(f"--{each.name}", type=type(default), default=default)


def command(uds: Path | str = "", port: int = 0, **options: object) -> list[str]:
    """The command line of one."""
    where = ["--uds", str(uds)] if uds else ["--port", str(port)]
    return [sys.executable, "-m", "tests.language.fake_engine", *where, *(f"--{n}={v}" for n, v in options.items())]


class Fake:
    """One that runs: `path` of its socket or its `port`, its `process`, a `client`."""

    def __init__(self, process: "subprocess.Popen[bytes]", path: str, port: int) -> None:
        self.process, self.path, self.port = process, path, port
        self.url = f"http://127.0.0.1:{port}" if port else "http://engine"
        transport = httpx.HTTPTransport(uds=path) if path else None
        self.client = httpx.Client(transport=transport, base_url=self.url, timeout=60, trust_env=False)

    def told(self) -> dict[str, Any]:
        """What it has seen and counted."""
        found: dict[str, Any] = self.client.get("/fake").json()
        return found


def _listens(where: "str | tuple[str, int]") -> bool:
    with socket.socket(socket.AF_UNIX if isinstance(where, str) else socket.AF_INET) as tried:
        return tried.connect_ex(where) == 0


@contextmanager
def running(uds: Path | str = "", port: int = 0, **options: object) -> Generator[Fake]:
    """One that listens at a Unix socket, or at a port (`tests.ports.free()`); options as of the command."""
    process = subprocess.Popen(command(uds, port, **options), cwd=ROOT)
    fake = Fake(process, str(uds), port)
    try:
        while not _listens(str(uds) or ("127.0.0.1", port)):
            assert process.poll() is None, "the fake engine has ended"
            time.sleep(0.01)
        yield fake
    finally:
        fake.client.close()
        process.kill()
        process.wait()


def main() -> None:
    """Run one."""
    parser = argparse.ArgumentParser()
    arguments(parser)
    # What vLLM's command line has besides, and more options where only the environment can be set.
    known, _ = parser.parse_known_args([*sys.argv[1:], *os.environ.get("FAKE", "").split()])
    given = vars(known)
    uds, port, adapters = given.pop("uds"), given.pop("port"), given.pop("lora_modules")
    import uvloop

    uvloop.run(serve(Options(**given), uds, port, adapters))


if __name__ == "__main__":
    main()
