"""The API server as the programs of tests on a node reach it: asked until there is an answer, followed for ever."""

import asyncio
import contextlib
import json
import signal
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import httpx

Object = dict[str, Any]
STRATEGIC = {"content-type": "application/strategic-merge-patch+json"}
MERGE = {"content-type": "application/merge-patch+json"}
REFUSALS = 10
"""Times that a refusal is asked again: an API server that has just started does not know its own roles yet."""


class Api:
    """A client that outlives the API server."""

    def __init__(self, client: httpx.AsyncClient) -> None:
        self._client = client

    async def ask(self, method: str, path: str, **what: object) -> httpx.Response:
        """The API's answer; again until there is one that is not of a server in trouble."""
        refused = 0
        while True:
            try:
                answer = await self._client.request(method, path, **what)  # pyright: ignore
            except httpx.TransportError as error:
                print(f"{method} {path}: {error!r}", flush=True)
            else:
                forbidden = answer.status_code in (401, 403)
                refused += forbidden
                if refused >= REFUSALS if forbidden else answer.status_code < 500 and answer.status_code != 429:
                    return answer
                print(f"{method} {path}: {answer.status_code} {answer.text[:300]}", flush=True)
            await asyncio.sleep(0.3)

    async def follow(
        self, path: str, chosen: dict[str, str], listed: Callable[[list[Object]], None],
        seen: Callable[[str, Object], None],
    ) -> None:  # fmt: skip
        """Call `listed` with all objects and `seen` with each change after it; from the list again whenever the watch
        ends."""
        while True:
            answer = await self.ask("GET", path, params=chosen)
            if answer.status_code != 200:
                await asyncio.sleep(0.3)
                continue
            found = answer.json()
            listed(found["items"])
            watch = chosen | {"watch": "1", "resourceVersion": found["metadata"]["resourceVersion"]}
            try:
                async with self._client.stream("GET", path, params=watch, timeout=60) as stream:
                    async for line in stream.aiter_lines():
                        event = json.loads(line)
                        if event.get("type") not in ("ADDED", "MODIFIED", "DELETED"):
                            break
                        seen(event["type"], event["object"])
            except (httpx.TransportError, ValueError) as error:
                print(f"the watch of {path}: {error!r}", flush=True)
                await asyncio.sleep(0.1)


@contextlib.asynccontextmanager
async def connected(url: str, authority: str, certificate: str, key: str) -> AsyncIterator[Api]:
    """The API server at `url` for the owner of a certificate."""
    context = ssl.create_default_context(cafile=authority)
    context.load_cert_chain(certificate, key)
    async with httpx.AsyncClient(base_url=url, verify=context, trust_env=False, timeout=30) as client:
        yield Api(client)


async def until_ended(work: Awaitable[object]) -> None:
    """Do it until SIGTERM."""
    task = asyncio.ensure_future(work)
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, task.cancel)
    with contextlib.suppress(asyncio.CancelledError):
        await task
