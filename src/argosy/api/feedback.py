"""`/v2/models/{name}/feedback`: labels of predictions that were made."""

import asyncio
import time

import msgspec

from argosy.api.route import Call, Route, Services
from argosy.monitoring.feedback import intake
from argosy.monitoring.feedback.event import Label, RefusedLabel, accept
from argosy.monitoring.feedback.folder import Shelf
from argosy.spec.endpoint import check_name
from argosy.spec.errors import InvalidArgument, NotFound

MAX_LABELS = 10_000


class Labels(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Labels of predictions of one endpoint, up to 10,000."""

    labels: tuple[Label, ...]

    def __post_init__(self) -> None:
        if not 1 <= len(self.labels) <= MAX_LABELS:
            raise InvalidArgument(f"labels must have 1 to {MAX_LABELS} entries, not {len(self.labels)}")


class Answered(msgspec.Struct, frozen=True):
    """How many labels are kept, and those that are not."""

    taken: int
    refused: tuple[RefusedLabel, ...]


async def feedback(call: Call) -> Answered:
    """Keep labels. See `kept`."""
    return await kept(call.services, call.path["name"], call.body)


async def kept(services: Services, name: str, labels: Labels, key: str = "") -> Answered:
    """Keep labels. What is taken outlives a crash and counts with the next join; sending it again changes nothing.

    A label whose prediction is not known waits for it. One that cannot be right, as it is of the future, is refused
    and does not hold up the rest. `key` is the id of the sender's key, empty for the owner: each has a share of
    what may wait. Raises NotFound where there is no such endpoint, RateLimited where the share is spent.
    """
    check_name(name)

    def keep() -> Answered:
        if services.state.endpoint(name) is None:
            raise NotFound(f"there is no endpoint '{name}'")
        found = accept(labels.labels, time.time(), key)
        if found.labels:
            intake.append(Shelf(services.home.feedback, name), found.labels)
        return Answered(len(found.labels), found.refused)

    return await asyncio.to_thread(keep)


ROUTES = (
    Route(
        method="POST",
        path="/v2/models/{name}/feedback",
        handler=feedback,
        summary="Labels of predictions",
        body=Labels,
        most=1024 * 1024,
        answer=Answered,
    ),
)
