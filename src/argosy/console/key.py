"""The page of API keys."""

import asyncio

from starlette.responses import Response

from argosy.console.pages import Ask, Desk


async def page(desk: Desk, ask: Ask) -> Response:
    """Every key, good ones first. The text of a key is nowhere to be shown: only its hash is kept."""
    found = await asyncio.to_thread(desk.services.store.keys.list)
    return desk.render(ask, "keys.html", keys=sorted(found, key=lambda each: (each.revoked is not None, each.created)))
