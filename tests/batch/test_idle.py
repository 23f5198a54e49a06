"""A process that is idle, the session that one of its children begins, and the cgroup that both are in."""

import subprocess
import sys
from pathlib import Path

import pytest

from argosy.batch.idle import AUTOGROUP, GROUP, root


def alone(program: str) -> subprocess.CompletedProcess[str]:
    """What a program says that runs in a session of its own: what is idle takes its whole session along, tests, too."""
    return subprocess.run(
        [sys.executable, "-c", program], check=True, capture_output=True, text=True, start_new_session=True
    )


CHILD = """
from argosy.batch.idle import follow
import os
follow()
print(os.sched_getscheduler(0) == os.SCHED_IDLE, open("/proc/self/autogroup").read().split()[-1])
"""
PARENT = f"""
import subprocess, sys
from argosy.batch.idle import idle
idle()
print(subprocess.run([sys.executable, "-c", {CHILD!r}], capture_output=True, text=True, start_new_session=True).stdout)
"""


@pytest.mark.slow
@pytest.mark.skipif(not AUTOGROUP.exists(), reason="this kernel does not group processes by session")
@pytest.mark.parametrize(("program", "said"), [(PARENT, "True 19"), (CHILD, "False 0")])
def test_who_begins_a_session_is_as_idle_as_its_parent(program: str, said: str):
    assert alone(program).stdout.strip() == said


V1 = """\
35 34 0:30 / /sys/fs/cgroup/memory rw,relatime - cgroup cgroup rw,memory
36 34 0:31 / /sys/fs/cgroup/cpu,cpuacct rw,relatime - cgroup cgroup rw,cpu,cpuacct
37 34 0:32 / /sys/fs/cgroup/unified rw,relatime shared:9 - cgroup2 cgroup2 rw
"""
V2 = "35 34 0:30 / /sys/fs/cgroup rw,nosuid shared:9 - cgroup2 cgroup2 rw,nsdelegate\n"


@pytest.mark.parametrize(
    ("cgroup", "mounts", "where"),
    [
        ("4:memory:/job\n1:cpu,cpuacct:/\n0::/\n", V1, "/sys/fs/cgroup/cpu,cpuacct"),
        ("1:cpu,cpuacct:/docker/0123\n0::/\n", V1, None),
        ("0::/\n", V2, "/sys/fs/cgroup"),
        ("0::/system.slice/argosy.service\n", V2, None),
        ("1:cpu:/\n", V1.replace(" / /sys", " /docker/0123 /sys"), None),
        ("1:cpu:/\n", "", None),
        ("", "", None),
    ],
)
def test_the_root_of_the_cgroups_that_share_out_the_processor(cgroup: str, mounts: str, where: str | None):
    assert root(cgroup, mounts) == (Path(where) if where else None)


@pytest.mark.slow
@pytest.mark.skipif(not AUTOGROUP.exists(), reason="this kernel does not group processes by session")
def test_where_it_may_a_process_joins_a_cgroup_that_is_idle_as_a_whole():
    own = root(Path("/proc/self/cgroup").read_text(), Path("/proc/self/mountinfo").read_text())
    if own is None:
        pytest.skip("no root cgroup of the processor is mounted here")
    program = "from argosy.batch.idle import idle; idle(); print(open('/proc/self/cgroup').read())"
    done = alone(program)
    if not (own / GROUP / "cpu.idle").exists():
        pytest.skip("no cgroup can be made here")
    assert f":/{GROUP}" in done.stdout
    assert (own / GROUP / "cpu.idle").read_text().strip() == "1"


COMPUTING = """
from argosy.batch.idle import idle, follow
import hashlib, signal, time
idle()
follow()
hashlib.sha256(bytes(32 << 20))
begun = time.monotonic()
time.sleep(0.05)
slept = time.monotonic() - begun >= 0.05
caught = int(next(line for line in open("/proc/self/status") if line.startswith("SigCgt")).split()[1], 16)
print(caught >> (signal.SIGALRM - 1) & 1, signal.getitimer(signal.ITIMER_REAL)[1], slept)
"""


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="idle on Linux alone")
def test_a_process_that_computes_asks_whether_somebody_waits_and_is_not_disturbed_by_that():
    done = alone(COMPUTING)
    assert done.stdout.split() == ["1", "0.0003", "True"]
