"""One platform on one home: a lock that the kernel gives back when its holder dies."""

import os
from pathlib import Path
from types import TracebackType

from argosy.process import flock
from argosy.spec.errors import Conflict
from argosy.spec.settings import Home

PATIENCE = 0.12
"""Seconds for those who only ask for the holder."""
LEADS, WAITS = "lock", "standby"
"""The lock of the platform that runs on a home, and of the one that waits for its end."""


class Lock:
    """Held from `with` to its end. Raises Conflict with the process that holds it.

    `signed` writes down which process that is; without, a full disk is no hindrance.
    """

    def __init__(self, home: Home, name: str = LEADS, *, signed: bool = True) -> None:
        self.path: Path = home.run / name
        self._home = home
        self._what = "a platform already runs" if name == LEADS else "a standby already waits"
        self._signed = signed
        self._fd = -1

    def __enter__(self) -> "Lock":
        try:
            self._fd = flock.take(self.path, patience=PATIENCE)
        except BlockingIOError:
            process = (flock.holder(self.path) or b"").decode(errors="replace") or "unknown"
            raise Conflict(
                f"{self._what} on {self._home.root}, in process {process}: use it, or end it by  argosy down"
            ) from None
        os.ftruncate(self._fd, 0)
        if self._signed:
            os.pwrite(self._fd, str(os.getpid()).encode(), 0)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.path.unlink(missing_ok=True)
        os.close(self._fd)


def holder(home: Home, name: str = LEADS) -> int | None:
    """The process that holds the lock now; None if nobody does."""
    try:
        text = (flock.holder(home.run / name) or b"").decode(errors="replace")
    except OSError:
        return None
    return int(text) if text.isdecimal() else None
