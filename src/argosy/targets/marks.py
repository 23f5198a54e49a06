"""How our processes are found again: by marks in their environment, never by a bare pid.

A mark is set at the spawn itself, so that no replica escapes even when the controller dies before it can note a pid.
"""

import hashlib
import os
from collections.abc import Iterator
from pathlib import Path

import msgspec
import psutil

VARIABLE = "ARGOSY_REPLICA"
CONFIG = "ARGOSY_REPLICA_CONFIG"


class Found(msgspec.Struct, frozen=True):
    """A process that carries our mark: the replica it is of, its config file, and whether it leads its session."""

    process: psutil.Process
    replica: str
    config: str
    leader: bool


def home_id(root: Path) -> str:
    """Tells the processes of one home from those of another."""
    return hashlib.sha256(os.fsencode(root.resolve())).hexdigest()[:12]


def environment(root: Path, replica: str, config: Path) -> dict[str, str]:
    """The marks of one replica."""
    return {VARIABLE: f"{home_id(root)}:{replica}", CONFIG: str(config)}


def scan(root: Path) -> Iterator[Found]:
    """Every live process of this home's replicas, the children of replicas included."""
    ours = home_id(root) + ":"
    for process in psutil.process_iter():
        try:
            environ = process.environ()
            mark = environ.get(VARIABLE, "")
            if mark.startswith(ours) and process.status() != psutil.STATUS_ZOMBIE:
                leader = os.getsid(process.pid) == process.pid
                yield Found(process, mark.removeprefix(ours), environ.get(CONFIG, ""), leader)
        except (psutil.Error, OSError):
            continue
