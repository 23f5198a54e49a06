"""How many cores and how much memory this process may use: its affinity and the bounds of its control groups."""

import contextlib
import math
import os
import re
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

_MOUNTS = (("", "sys/fs/cgroup"), ("", "sys/fs/cgroup/unified"))
_MOUNTS_1 = (("cpu", "sys/fs/cgroup/cpu"), ("cpu", "sys/fs/cgroup/cpu,cpuacct"))
"""The controller of a line of /proc/self/cgroup (none in version 2), and where its groups are mounted."""


def cores(root: Path = Path("/")) -> int:
    """The cores of its affinity, and no more than the smallest quota of its control group and those above it, rounded
    up; at least 1. `root` holds `proc` and `sys`."""
    allowed = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return max(1, min([allowed, *map(math.ceil, _quotas(root))]))


def gpus() -> tuple[str, ...]:
    """The device files of the GPUs here; none without. Those of NVIDIA's end with their number."""
    found = [*Path("/dev").glob("nvidia*"), *(Path("/dev", name) for name in ("kfd", "dri"))]
    return tuple(str(each) for each in sorted(found) if each.exists())


def cuda(files: Iterable[str], environ: Mapping[str, str]) -> tuple[str, ...]:
    """The GPUs of NVIDIA that processes of ours may use, as CUDA_VISIBLE_DEVICES has them: all, where it is not set."""
    if (named := environ.get("CUDA_VISIBLE_DEVICES")) is not None:
        return tuple(filter(None, map(str.strip, named.split(","))))
    numbers = (found[1] for each in files if (found := re.fullmatch(r"/dev/nvidia([0-9]+)", each)))
    return tuple(sorted(numbers, key=int))


def memory() -> int:
    """Bytes of memory of this machine, or what its control group leaves of it."""
    import psutil  # which most who ask for cores do without

    most = psutil.virtual_memory().total
    with contextlib.suppress(OSError, ValueError):
        most = min(most, int(Path("/sys/fs/cgroup/memory.max").read_text()))
    return most


def _quotas(root: Path) -> Iterator[float]:
    """Every quota that bounds this process, in cores."""
    try:
        lines = (root / "proc/self/cgroup").read_text().splitlines()
    except OSError:
        return
    for line in lines:
        _, controllers, path = line.split(":", 2)
        for controller, mount in (*_MOUNTS, *_MOUNTS_1):
            if controller in controllers.split(","):
                yield from _above(root / mount, path)


def _above(mount: Path, path: str) -> Iterator[float]:
    """The quotas of a group and of those above it. In a container the path may be that of the host: then its own group
    is the mount itself."""
    parts = [each for each in path.split("/") if each not in ("", "..")]
    for depth in range(len(parts) + 1):
        group = mount.joinpath(*parts[:depth])
        for read in (_version_2, _version_1):
            try:
                limit, period = read(group)
                if limit > 0 and period > 0:
                    yield limit / period
            except (OSError, ValueError):
                continue


def _version_2(group: Path) -> tuple[int, int]:
    limit, period = (group / "cpu.max").read_text().split()
    return (-1 if limit == "max" else int(limit)), int(period)


def _version_1(group: Path) -> tuple[int, int]:
    return int((group / "cpu.cfs_quota_us").read_text()), int((group / "cpu.cfs_period_us").read_text())
