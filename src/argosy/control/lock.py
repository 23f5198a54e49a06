"""One platform on one home: a lock that the kernel gives back when its holder dies."""

import fcntl
import os
import time
from pathlib import Path
from types import TracebackType

from argosy.spec.errors import Conflict
from argosy.spec.settings import Home

ATTEMPTS = 5
"""Whoever asks for the holder takes the lock for an instant; that is not yet another platform."""


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
        for attempt in range(ATTEMPTS):
            try:
                while not self._taken():
                    pass
                break
            except Conflict:
                if attempt == ATTEMPTS - 1:
                    raise
                time.sleep(0.03)
        os.ftruncate(self._fd, 0)
        if self._signed:
            os.pwrite(self._fd, str(os.getpid()).encode(), 0)
        return self

    def _taken(self) -> bool:
        """Whether the file that was locked is still the one with this name: a holder removes it as it ends."""
        self._fd = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(self._fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            holder = os.pread(self._fd, 32, 0).decode() or "unknown"
            os.close(self._fd)
            raise Conflict(
                f"{self._what} on {self._home.root}, in process {holder}: use it, or end it by  argosy down"
            ) from None
        try:
            if os.fstat(self._fd).st_ino == self.path.stat().st_ino:
                return True
        except FileNotFoundError:
            pass
        os.close(self._fd)
        return False

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.path.unlink(missing_ok=True)
        os.close(self._fd)


def holder(home: Home, name: str = LEADS) -> int | None:
    """The process that holds the lock now; None if nobody does."""
    try:
        fd = os.open(home.run / name, os.O_RDWR | os.O_CLOEXEC)
    except OSError:
        return None
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        text = os.pread(fd, 32, 0).decode()
        return int(text) if text.isdecimal() else None
    finally:
        os.close(fd)
    return None
