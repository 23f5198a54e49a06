"""What the replicas themselves have counted, read over their Unix sockets."""

import asyncio
from collections.abc import Sequence

import msgspec

from argosy.gateway.admin import Admin
from argosy.monitoring.arm import add
from argosy.serving.counts import Counts
from argosy.spec.errors import ArgosyError
from argosy.targets.base import Replica

PATH = "/argosy/counts"
SECONDS = 1.0
_DECODER = msgspec.json.Decoder(dict[str, dict[str, Counts]])


class Told(msgspec.Struct, frozen=True):
    """What one process of a replica has counted since it was `started` (seconds since 1970)."""

    started: float
    counts: Counts


async def told(replicas: Sequence[Replica]) -> dict[str, Told]:
    """By process. Those that do not answer within a second are left out."""
    found = await asyncio.gather(*(_counts(each) for each in replicas))
    pairs = zip(replicas, found, strict=True)
    return {f"{each.id}/{each.pid}": Told(each.started, counts) for each, counts in pairs if counts is not None}


async def _counts(replica: Replica) -> Counts | None:
    try:
        models = _DECODER.decode(await Admin(replica.http, SECONDS).get(PATH))
    except (ArgosyError, OSError, ValueError):
        return None
    return add(counts for versions in models.values() for counts in versions.values())
