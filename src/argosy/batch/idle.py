"""Working only on what nobody else wants of the processor.

On Linux by SCHED_IDLE: whoever else wakes on the core runs at once. Where the kernel groups processes by session
(autogroup, sched(7)), that is true in a session alone. There a cgroup that is idle as a whole (`cpu.idle`) takes the
job, if this process may make one; else the session's own share is lowered, which is less: somebody who wakes then waits
for the end of the job's time slice.

Even so the scheduler since Linux 6.6 (EEVDF) owes an idle process its minute share, and pays it in whole ticks of up to
4 ms, for which others wait. A process that computes therefore asks again and again whether somebody waits.
"""

import contextlib
import ctypes
import os
import signal
import sys
from pathlib import Path

AUTOGROUP = Path("/proc/self/autogroup")
NICEST = 19
GROUP = "argosy-idle"
YIELD = 0.0003
"""Seconds after which who waits for the processor gets it."""

_yielding = False


def idle() -> None:
    """Be so from now on; children are, too, but for those that begin a session of their own (`follow`)."""
    with contextlib.suppress(OSError):
        os.nice(NICEST)
    if hasattr(os, "SCHED_IDLE"):
        with contextlib.suppress(OSError):
            os.sched_setscheduler(0, os.SCHED_IDLE, os.sched_param(0))
    if AUTOGROUP.exists():
        with contextlib.suppress(OSError):
            own = root(Path("/proc/self/cgroup").read_text(), Path("/proc/self/mountinfo").read_text())
            if own is not None:
                group = own / GROUP
                group.mkdir(exist_ok=True)
                (group / "cpu.idle").write_text("1")
                (group / "cgroup.procs").write_text(str(os.getpid()))
        _lower()


def follow() -> None:
    """In a process that computes, in a session of its own: be idle where the process that began it was.

    The main thread then calls `sched_yield` at every beat of a timer, within a call of the engine, too: the handler is
    C's own function, as Python's run between two of its instructions only.
    """
    global _yielding
    if not hasattr(os, "SCHED_IDLE") or os.sched_getscheduler(0) != os.SCHED_IDLE:
        return
    _lower()
    if sys.platform == "linux":
        _yielding = True
        libc = ctypes.CDLL(None)
        libc.signal.argtypes = [ctypes.c_int, ctypes.c_void_p]
        libc.signal(signal.SIGALRM, ctypes.cast(libc.sched_yield, ctypes.c_void_p))
        signal.setitimer(signal.ITIMER_REAL, YIELD, YIELD)


def pause() -> None:
    """In other threads of such a process, between two pieces of work: let who waits have the processor."""
    if _yielding:
        os.sched_yield()


def _lower() -> None:
    with contextlib.suppress(OSError):
        AUTOGROUP.write_text(str(NICEST))


def root(cgroup: str, mounts: str) -> Path | None:
    """The folder of the root cgroup that shares out the processor, by /proc/self/cgroup and /proc/self/mountinfo.

    None where it is not mounted whole, or this process is below it: sessions then do not matter. Version 1 has
    hierarchies by controller, version 2 one for all (`cgroup2`).
    """
    lines = [line.split(":", 2) for line in cgroup.splitlines()]
    kinds = {"cgroup" for _, controllers, path in lines if path == "/" and "cpu" in controllers.split(",")}
    if not any("cpu" in controllers.split(",") for _, controllers, _ in lines):
        kinds = {"cgroup2" for number, _, path in lines if path == "/" and number == "0"}
    for line in mounts.splitlines():
        before, _, after = line.partition(" - ")
        mounted, where = before.split()[3:5]
        kind, _, options = after.split()[:3]
        if kind in kinds and mounted == "/" and (kind == "cgroup2" or "cpu" in options.split(",")):
            return Path(where)
    return None
