"""Labels that come through the gateway, which has checked their senders' keys.

They come over a Unix socket that only our user may open, and nothing can be said there but labels, and what
`batches.py` takes: so neither the control token nor any other secret has to be where the gateway is. Whose key it was
the gateway says in a header, which it removes where a client sends it.
"""

import asyncio
from collections.abc import Awaitable, Callable, Sequence

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute

from argosy.api.application import answered, as_json, no_method, no_route, read_body
from argosy.api.feedback import Answered, Labels
from argosy.api.server import SocketServer
from argosy.gateway.model import check_token
from argosy.serving.internal_headers import KEY
from argosy.spec import strict
from argosy.spec.errors import Unavailable
from argosy.spec.settings import Home

PATH = "/v2/models/{name}/feedback"
AT_ONCE = 2
"""So many are decoded and written to the disk at once; the others wait as bytes, of 1 MiB at the most."""
WAITING = 16
NOBODY = "-"
"""Whose the labels are where the gateway names no key."""
GATEWAY = 256
"""Connections of the gateway."""


Store = Callable[[str, Labels, str], Awaitable[Answered]]
"""Stores labels of an endpoint, which came by the key of this id."""


def application(store: Store, more: Sequence[BaseRoute] = ()) -> Starlette:
    """Takes labels, of whoever comes, and what `more` routes take."""
    turns = asyncio.Semaphore(AT_ONCE)
    inside = 0

    async def answer(request: Request) -> Response:
        nonlocal inside
        if inside >= AT_ONCE + WAITING:
            raise Unavailable("too many labels come at once; try again", retry_after=1)
        inside += 1
        try:
            body = await read_body(request)
            async with turns:
                labels = await asyncio.to_thread(strict.decode, body, Labels, "the body")
                key = check_token(request.headers.get(KEY, NOBODY), "the key's id")
                return as_json(await store(request.path_params["name"], labels, key))
        finally:
            inside -= 1

    routes = [answered(PATH, "POST", answer), *more]
    return Starlette(routes=routes, exception_handlers={404: no_route, 405: no_method})


class LabelServer(SocketServer):
    def __init__(self, home: Home, store: Store, more: Sequence[BaseRoute] = ()) -> None:
        super().__init__(application(store, more), home.labels, GATEWAY, whole=600)
