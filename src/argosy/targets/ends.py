"""When replicas ended: the record of a target, in a file, so that a platform that is killed loses no end; and the beats
of processes, by which one is known that ended while no platform looked."""

import contextlib
import os
import time
from pathlib import Path

import msgspec

from argosy.process.enter import BEAT
from argosy.spec.revision import Replica
from argosy.store.durable import say

Ends = tuple[Replica, float]
"""One that is gone, as it was last, and when it ended (seconds since 1970)."""
MOST = 4096
KEPT = 600.0
"""Seconds for which an end is in the file: whoever reads ends does so every few seconds, once it runs."""


class EndLog:
    """The last ends, by run."""

    def __init__(self, file: Path) -> None:
        self._file = file
        self.found: dict[str, Ends] = {}

    def load(self) -> None:
        """Take in what the platform before has seen."""
        with contextlib.suppress(OSError, msgspec.MsgspecError):
            ends = msgspec.json.decode(self._file.read_bytes(), type=list[Ends])
            self.found |= {replica.run: (replica, at) for replica, at in ends}

    def add(self, replica: Replica, at: float) -> None:
        """One has ended. It is written down before anything of it is removed."""
        self.found[replica.run] = replica, at
        for run in [*self.found][:-MOST]:
            del self.found[run]
        with contextlib.suppress(OSError):
            oldest = time.time() - KEPT
            say(self._file, msgspec.json.encode([each for each in self.found.values() if each[1] >= oldest]))


def begin(file: Path, replica: Replica) -> None:
    """Write down a run that has started."""
    with contextlib.suppress(OSError):
        say(file, msgspec.json.encode(replica))


def unseen(file: Path, beats: Path) -> Ends | None:
    """A run that `begin` wrote down in `file`, and that is gone: it ended between its last beat and the one that was
    due, so in the middle. None where nothing is known."""
    try:
        replica = msgspec.json.decode(file.read_bytes(), type=Replica)
        last = os.stat(beats if beats.exists() else file).st_mtime
    except (OSError, msgspec.MsgspecError):
        return None
    return replica, min(max(last, replica.started) + BEAT / 2, time.time())
