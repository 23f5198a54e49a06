"""Working only on what nobody else wants of the processor.

On Linux by SCHED_IDLE: whoever else wakes on the core runs at once. Where the kernel groups processes by session
(autogroup, sched(7)), policy and niceness hold within a session alone, so that the session's own share is lowered, too.
"""

import contextlib
import os
from pathlib import Path

AUTOGROUP = Path("/proc/self/autogroup")
NICEST = 19


def idle() -> None:
    """Be so from now on; children are, too, but for those that begin a session of their own (`follow`)."""
    with contextlib.suppress(OSError):
        os.nice(NICEST)
    if hasattr(os, "SCHED_IDLE"):
        with contextlib.suppress(OSError):
            os.sched_setscheduler(0, os.SCHED_IDLE, os.sched_param(0))
    _lower()


def follow() -> None:
    """In a session of one's own: be idle where the process that began it was."""
    if hasattr(os, "SCHED_IDLE") and os.sched_getscheduler(0) == os.SCHED_IDLE:
        _lower()


def _lower() -> None:
    with contextlib.suppress(OSError):
        AUTOGROUP.write_text(str(NICEST))
