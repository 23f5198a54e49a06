"""What the replicas themselves have counted, read from their addresses."""

import asyncio
from collections.abc import Sequence

import msgspec

from argosy.gateway.admin import Admin
from argosy.serving.counts import Counts
from argosy.spec.errors import ArgosyError
from argosy.spec.revision import Replica
from argosy.telemetry.counts import add
from argosy.telemetry.revisions import Told

PATH = "/argosy/counts"
SECONDS = 2.0
_DECODER = msgspec.json.Decoder(dict[str, dict[str, Counts]])


async def told(replicas: Sequence[Replica]) -> dict[str, Told | None]:
    """By run; None for those that do not answer in time."""
    found = await asyncio.gather(*(_counts(each) for each in replicas))
    pairs = zip(replicas, found, strict=True)
    return {each.run: counts and Told(each.started, counts) for each, counts in pairs}


async def _counts(replica: Replica) -> Counts | None:
    try:
        models = _DECODER.decode(await Admin(replica.http, SECONDS).get(PATH))
    except (ArgosyError, OSError, ValueError):
        return None
    return add(counts for versions in models.values() for counts in versions.values())
