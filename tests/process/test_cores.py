"""The cores of a process, by affinity and by the quotas of its control groups."""

import contextlib
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from argosy.process import cores as module
from argosy.process.cores import cores

MANY = 8


@pytest.fixture(autouse=True)
def machine(monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> None:
    """One with eight cores, whatever runs the tests."""
    if "real" not in request.node.name:
        monkeypatch.setattr(module.os, "sched_getaffinity", lambda _: set(range(MANY)), raising=False)


def made(root: Path, groups: str, files: dict[str, str]) -> Path:
    (root / "proc/self").mkdir(parents=True)
    (root / "proc/self/cgroup").write_text(groups)
    for name, text in files.items():
        path = root / "sys/fs/cgroup" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return root


def of_1(folder: str, quota: int, period: int = 100000) -> dict[str, str]:
    return {f"{folder}/cpu.cfs_quota_us": f"{quota}\n", f"{folder}/cpu.cfs_period_us": f"{period}\n"}


NESTED = {"cpu.max": "max 100000", "a/cpu.max": "300000 100000", "a/b/cpu.max": "500000 100000"}
HYBRID = "9:name=systemd:/\n1:cpu,cpuacct:/a\n0::/x\n"


@pytest.mark.parametrize(
    ("groups", "files", "found"),
    [
        pytest.param("", {}, MANY, id="none"),
        pytest.param("0::/\n", {"cpu.max": "max 100000\n"}, MANY, id="version 2, no quota"),
        pytest.param("0::/\n", {"cpu.max": "150000 100000\n"}, 2, id="version 2, a container"),
        pytest.param("0::/\n", {"cpu.max": "5000 100000\n"}, 1, id="less than one"),
        pytest.param("0::/\n", {"cpu.max": "9900000 100000\n"}, MANY, id="more than there are"),
        pytest.param("0::/a/b\n", NESTED, 3, id="a group above is smaller"),
        pytest.param("0::/a:b\n", {"a:b/cpu.max": "200000 100000"}, 2, id="a colon in its name"),
        pytest.param("0::/../host\n", {"cpu.max": "200000 100000"}, 2, id="a group outside of the namespace"),
        pytest.param("4:cpu,cpuacct:/docker/1f\n", of_1("cpu", 250000), 3, id="version 1, the host's path"),
        pytest.param("4:cpuacct,cpu:/a\n", of_1("cpu,cpuacct/a", 200000), 2, id="version 1, mounted as two"),
        pytest.param("4:cpu:/\n", of_1("cpu", -1), MANY, id="version 1, no quota"),
        pytest.param("4:cpuset:/\n", of_1("cpu", 100000), MANY, id="another controller"),
        pytest.param(HYBRID, of_1("cpu/a", 300000) | {"unified/x/cpu.max": "200000 100000"}, 2, id="both"),
        pytest.param("0::/\n", {"cpu.max": "1 0\n"}, MANY, id="no period"),
        pytest.param("0::/\n", {"cpu.max": "many\n"}, MANY, id="nonsense"),
    ],
)
def test_the_smallest_bound_is_taken(tmp_path: Path, groups: str, files: dict[str, str], found: int):
    assert cores(made(tmp_path, groups, files)) == found


@given(st.integers(1, 10**8), st.integers(1000, 10**6))
def test_they_are_at_least_one_and_at_most_what_there_is(tmp_path_factory: pytest.TempPathFactory, quota, period):
    found = cores(made(tmp_path_factory.mktemp("c"), "0::/\n", {"cpu.max": f"{quota} {period}"}))
    assert found == max(1, min(MANY, -(-quota // period)))


@pytest.fixture
def group() -> Iterator[Path]:
    """A control group with a quota of half a core, in whichever version this machine has."""
    two = Path("/sys/fs/cgroup")
    kind, write = (
        (two / "cpu", {"cpu.cfs_quota_us": "50000"}) if (two / "cpu").is_dir() else (two, {"cpu.max": "50000"})
    )
    folder = kind / f"argosy-test-{os.getpid()}"
    try:
        folder.mkdir()
        for name, text in write.items():
            (folder / name).write_text(text)
    except OSError as error:
        with contextlib.suppress(OSError):
            folder.rmdir()
        pytest.skip(f"no control group with a quota can be made here: {error}")
    yield folder
    folder.rmdir()


def test_a_real_quota_is_honoured_by_all_that_asks(group: Path):
    code = (
        "from argosy.batch.driver import cores as of_batch\n"
        "from argosy.targets.local import cores as of_replicas\n"
        "from argosy.engines import cores as of_engines; from argosy.gateway.envoy import cores as of_envoy\n"
        "print(of_batch(), of_replicas(), of_engines(), of_envoy())"
    )
    move = f'echo $$ > {group}/cgroup.procs && exec {sys.executable} -c "$0"'
    done = subprocess.run(["/bin/sh", "-c", move, code], capture_output=True, text=True, check=False)
    assert done.stdout.split() == ["1"] * 4, done.stderr


def test_nobody_else_counts_cores():
    """Neither affinity nor the machine's cores are asked for but by `process/cores.py`."""
    root = Path(module.__file__).parents[1]
    names = ("sched_getaffinity", "cpu_count", "process_cpu_count")
    found = {
        path.relative_to(root).as_posix()
        for path in root.rglob("*.py")
        if any(each in path.read_text() for each in names)
    }
    assert found == {"process/cores.py"}


@pytest.mark.parametrize(
    ("environ", "there"),
    [
        ({}, ("0", "1", "10")),
        ({"CUDA_VISIBLE_DEVICES": "1, GPU-8f"}, ("1", "GPU-8f")),
        ({"CUDA_VISIBLE_DEVICES": ""}, ()),
    ],
    ids=["all", "named", "none"],
)
def test_gpus_that_may_be_used(environ: dict[str, str], there: tuple[str, ...]):
    files = ("/dev/dri", "/dev/nvidia-uvm", "/dev/nvidia0", "/dev/nvidia1", "/dev/nvidia10", "/dev/nvidiactl")
    assert module.cuda(files, environ) == there


def test_this_machine_has_some_memory():
    assert module.memory() > 2**20
