"""`/v2/models/{name}/feedback`: labels of predictions that were made."""

import asyncio
import time
from typing import Annotated

import msgspec

from argosy.api.route import Route, Services
from argosy.monitoring.feedback import intake
from argosy.monitoring.feedback.event import Label, RefusedLabel, accept
from argosy.monitoring.feedback.folder import LabelFolder
from argosy.spec.endpoint import check_name
from argosy.spec.errors import NotFound
from argosy.store.streams import names


class Labels(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Labels of predictions of one endpoint, up to 10,000."""

    labels: Annotated[tuple[Label, ...], msgspec.Meta(min_length=1, max_length=10_000)]


class Answered(msgspec.Struct, frozen=True):
    """How many labels are stored, and those that are not."""

    taken: int
    refused: tuple[RefusedLabel, ...]


async def feedback(services: Services, name: str, body: Labels) -> Answered:
    """Store labels. See `take`."""
    return await take(services, name, body)


async def take(services: Services, name: str, labels: Labels, key: str = "") -> Answered:
    """Store labels. What is taken outlives a crash and counts with the next join; sending it again changes nothing.

    A label whose prediction is not known waits for it. One that cannot be right, as it is of the future, is refused
    and does not delay the rest. `key` is the id of the sender's key, empty for the owner: each has a share of
    what may wait. Raises NotFound where there is no such endpoint, RateLimited where the share is spent.
    """
    check_name(name)

    def write() -> Answered:
        if services.state.endpoint(name) is None and name not in names(services.store):
            raise NotFound(f"there is no endpoint '{name}'")
        found = accept(labels.labels, time.time(), key)
        if found.labels:
            intake.append(LabelFolder(services.home.feedback, name), found.labels)
        return Answered(len(found.labels), found.refused)

    return await asyncio.to_thread(write)


ROUTES = (Route("POST", "/v2/models/{name}/feedback", feedback, "Labels of predictions", most=1024 * 1024),)
