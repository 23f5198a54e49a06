"""How our processes are found again: by a mark in their environment, never by a bare pid.

The mark is set at the spawn itself, so that no replica escapes even when the controller dies before it can note a pid.
It holds all that is needed to adopt the replica: `ARGOSY_REPLICA=<home id>:<replica id>:<record as JSON>`.
"""

import hashlib
import os
from collections.abc import Iterator
from pathlib import Path

import msgspec
import psutil

from argosy.spec.revision import Revision

VARIABLE = "ARGOSY_REPLICA"


class Record(msgspec.Struct, frozen=True, kw_only=True):
    """What a replica's mark says of it."""

    replica: str
    slot: int
    revision: Revision
    short: str


class Found(msgspec.Struct, frozen=True):
    """A process that carries our mark. Only the leader of a session is the replica; the others are its children."""

    process: psutil.Process
    replica: str
    record: Record | None
    leader: bool


def home_id(root: Path) -> str:
    """Tells the processes of one home from those of another."""
    return hashlib.sha256(os.fsencode(root.resolve())).hexdigest()[:12]


def mark(root: Path, record: Record) -> dict[str, str]:
    """The environment variable that marks one replica."""
    return {VARIABLE: f"{home_id(root)}:{record.replica}:{msgspec.json.encode(record).decode()}"}


def scan(root: Path) -> Iterator[Found]:
    """Every live process of this home's replicas, the children of replicas included."""
    ours = home_id(root) + ":"
    for process in psutil.process_iter():
        try:
            value = process.environ().get(VARIABLE, "")
            if value.startswith(ours) and process.status() != psutil.STATUS_ZOMBIE:
                _, replica, text = (value + "::").split(":", 2)
                yield Found(process, replica, _record(text.rstrip(":")), os.getsid(process.pid) == process.pid)
        except (psutil.Error, OSError):
            continue


def _record(text: str) -> Record | None:
    try:
        return msgspec.json.decode(text, type=Record)
    except msgspec.MsgspecError:
        return None
