"""How many cores an engine may use."""

import math
import os
from pathlib import Path

QUOTA = Path("/sys/fs/cgroup/cpu.max")


def cores(quota: Path = QUOTA) -> int:
    """The cores this process may use: its affinity, and no more than the CPU quota of its control group; at least 1."""
    allowed = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return max(1, min(allowed, _quota(quota) or allowed))


def threads_of(wanted: int) -> int:
    """`wanted` threads, or as many as there are cores where it is 0."""
    return wanted if wanted > 0 else cores()


def _quota(path: Path) -> int | None:
    """Whole cores of a cgroup v2 `cpu.max` ("200000 100000" is 2 cores), or None where there is no limit."""
    try:
        limit, period = path.read_text().split()
        return max(1, math.ceil(int(limit) / int(period)))
    except (OSError, ValueError, ZeroDivisionError):
        return None
