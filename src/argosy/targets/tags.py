"""How our processes are found again: by a mark in their environment, never by a bare pid.

The mark is set at the spawn itself, so that no replica escapes even when the controller dies before it can note a pid.
It holds all that is needed to adopt the replica: `ARGOSY_REPLICA=<home id>:<replica id>:<record as JSON>`.
"""

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path

import msgspec
import psutil

from argosy.process.managed import home_id, variables
from argosy.spec.revision import Revision

VARIABLE = "ARGOSY_REPLICA"


class Record(msgspec.Struct, frozen=True, kw_only=True):
    """What a replica's mark says of it. `ports` are those of HTTP and gRPC where it is reached by TLS; `gpus` are its
    own."""

    replica: str
    slot: int
    revision: Revision
    short: str
    ports: tuple[int, int] | None = None
    gpus: tuple[str, ...] = ()


class Found(msgspec.Struct, frozen=True):
    """A process that carries our mark. Only the leader of a session is the replica; the others are its children."""

    process: psutil.Process
    replica: str
    record: Record | None
    leader: bool


def mark(root: Path, record: Record) -> dict[str, str]:
    """The environment variable that marks one replica."""
    return {VARIABLE: f"{home_id(root)}:{record.replica}:{msgspec.json.encode(record).decode()}"}


def scan(root: Path) -> Iterator[Found]:
    """Every live process of this home's replicas, the children of replicas included."""
    ours = home_id(root) + ":"
    for process, value in variables(VARIABLE):
        if value.startswith(ours):
            _, replica, text = (value + "::").split(":", 2)
            with contextlib.suppress(OSError):
                record: Record | None = None
                with contextlib.suppress(msgspec.MsgspecError):
                    record = msgspec.json.decode(text.rstrip(":"), type=Record)
                yield Found(process, replica, record, os.getsid(process.pid) == process.pid)


def replicas(root: Path) -> tuple[list[psutil.Process], float]:
    """Every process of a replica, and the longest time one may take to drain."""
    found = list(scan(root))
    drains = [each.record.revision.runtime.drain_timeout for each in found if each.record]
    return [each.process for each in found], max(drains, default=0.0)
