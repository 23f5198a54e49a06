"""What time it is on a device whose clock may stand in 1970, or leap.

The platform's clock counts, as the last session told it, carried on by a clock that runs steadily. What happened before
the first session of a start of the agent is placed once there has been one; of a start that never had one, by the
device's own clock, where that lies between the last time the platform told and now, and otherwise at the time of
sending.
"""

import contextlib
import time
from collections.abc import Callable
from pathlib import Path

import msgspec

from argosy_edge import durable

STARTS = 64
"""Starts of the agent of which the offset is kept."""
SLACK = 60.0
"""How far ahead of the platform the device's own clock may be and still be believed."""
CHANGED = 2.0
"""Seconds by which an offset has to change to be written again."""


def steady() -> float:
    """Seconds of a clock that nobody sets, and that goes on while the machine sleeps."""
    return time.clock_gettime(time.CLOCK_BOOTTIME)


class Known(msgspec.Struct, kw_only=True):
    """On disk: the last time that the platform told, and by start of the agent the platform's time when it began."""

    last: float = 0.0
    began: dict[int, float] = {}


class Clock:
    """The time of one start (`boot`) of the agent. `path` is where what is known outlives it."""

    def __init__(
        self,
        path: Path,
        boot: int,
        wall: Callable[[], float] = time.time,
        steady: Callable[[], float] = steady,
    ) -> None:
        self.boot = boot
        self._path, self.wall, self._steady = path, wall, steady
        self._zero = steady()
        self._known = Known()
        with contextlib.suppress(OSError, msgspec.MsgspecError, UnicodeDecodeError):
            self._known = msgspec.json.decode(path.read_bytes(), type=Known)

    def after(self) -> float:
        """Seconds since this start."""
        return self._steady() - self._zero

    def now(self) -> float:
        """The platform's time as well as it is known, in seconds since 1970."""
        began = self._known.began.get(self.boot)
        return self.wall() if began is None else began + self.after()

    @property
    def known(self) -> bool:
        """Whether there was a session since this start."""
        return self.boot in self._known.began

    def sync(self, now: float) -> None:
        """The platform has told its time. That it cannot be kept, on a full disk, does no harm until the next start."""
        began, before = now - self.after(), self._known.began.get(self.boot)
        starts = {**self._known.began, self.boot: began}
        self._known = Known(last=now, began=dict(sorted(starts.items())[-STARTS:]))
        if before is None or abs(began - before) > CHANGED:
            with contextlib.suppress(OSError):
                durable.write(self._path, msgspec.json.encode(self._known))

    def place(self, boot: int, after: float, at: float) -> float:
        """When something was, `after` so many seconds of the start `boot`, when the device's clock showed `at`."""
        if (began := self._known.began.get(boot)) is not None:
            return began + after
        now = self.now()
        return at if self._known.last <= at <= now + SLACK else now
