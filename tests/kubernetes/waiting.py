"""Waits for what a target of Kubernetes says."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

from argosy.spec.revision import Replica, Revision, RevisionStatus
from argosy.targets.kubernetes.target import KubernetesTarget


async def until(check: Callable[[], Awaitable[Any]], seconds: float = 90.0) -> Any:
    async with asyncio.timeout(seconds):
        while not (found := await check()):
            await asyncio.sleep(0.05)
        return found


async def ready(target: KubernetesTarget, revision: Revision, count: int) -> list[Replica]:
    """The replicas, once so many are ready and there are no others."""

    async def there() -> list[Replica]:
        status = await target.endpoints(revision.id)
        return list(status.replicas) if status.ready == count == len(status.replicas) else []

    return await until(there)


async def told(target: KubernetesTarget, revision: Revision, field: str, text: str) -> RevisionStatus:
    """The status, once a field of it has this text."""
    status = RevisionStatus()

    async def there() -> bool:
        nonlocal status
        status = await target.endpoints(revision.id)
        return text in getattr(status, field)

    try:
        await until(there)
    except TimeoutError:
        raise AssertionError(f"{field} has no '{text}': {status}") from None
    return status


async def drained(target: KubernetesTarget, revision: Revision) -> list[str]:
    async def there() -> list[str]:
        return [each.id for each in (await target.endpoints(revision.id)).replicas if each.phase == "draining"]

    return await until(there)
