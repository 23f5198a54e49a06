"""`down` has ended everything, or says what it has not."""

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator

import psutil
import pytest

from argosy.platform import down as down_module
from argosy.platform import leftovers
from argosy.platform.down import down
from argosy.platform.lock import holder
from argosy.process import managed
from argosy.process.managed import home_id
from argosy.process.process import end
from argosy.spec.errors import Unavailable
from argosy.spec.settings import Home, Settings
from argosy.store.store import Store
from argosy.targets import log
from argosy.targets.tags import replicas
from tests.platform.packages import push
from tests.platform.up import STAND_IN_UP, Up, until
from tests.store.samples import model_lineage, model_manifest, write_folder

HEARS_NOTHING = """
import signal, sys, time
from pathlib import Path
from argosy.platform.lock import Lock
from argosy.spec.settings import Home
for each in (signal.SIGTERM, signal.SIGHUP, signal.SIGINT):
    signal.signal(each, signal.SIG_IGN)
with Lock(Home(Path(sys.argv[1]))):
    time.sleep(600)
"""


@pytest.fixture
def platform(home: Home, store: Store, start: Callable[..., Up]) -> Up:
    """One that serves, with two replicas that have a second to drain."""
    folder = write_folder(home.root / "package")
    (folder / "behaviour").write_text("ok")
    ref = store.add(folder, name="digits", manifest=model_manifest(), lineage=model_lineage()).ref
    up = start(STAND_IN_UP).ready()
    body = {"model": ref, "replicas": 2, "runtime": {"drain_timeout": 1}}
    up.call("PUT", "/v1/endpoints/digits", body, wait=60)
    return up


@pytest.fixture
def child(home: Home) -> Iterator[subprocess.Popen[bytes]]:
    """A process that no record leads to, started by something that the platform started."""
    marked = os.environ | {managed.VARIABLE: home_id(home.root)}
    process = subprocess.Popen(
        [sys.executable, "-S", "-c", "import signal, time; signal.signal(15, signal.SIG_IGN); time.sleep(600)"],
        env=marked,
        start_new_session=True,
    )
    yield process
    process.kill()
    process.wait()


def everything(home: Home) -> list[psutil.Process]:
    return [*leftovers.gateways(home), *replicas(home.root)[0]]


def run_down(home: Home) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-c", "from argosy.cli.main import main; main()", "down"]
    given = {**os.environ, "ARGOSY_HOME": str(home.root)}
    return subprocess.run(command, env=given, capture_output=True, text=True, timeout=100, check=False)


FAULTS = {
    "nothing is wrong": lambda up, found: None,
    "the controller is killed": lambda up, found: up.kill(),
    "the controller is stopped": lambda up, found: up.process.send_signal(signal.SIGSTOP),
    "the gateway and the replicas hang": lambda up, found: [each.suspend() for each in found],
    "the controller is killed, and the rest hangs": lambda up, found: (up.kill(), [each.suspend() for each in found]),
}


QUICK = "nothing is wrong"


@pytest.mark.parametrize("fault", [pytest.param(each, marks=[pytest.mark.slow] * (each != QUICK)) for each in FAULTS])
def test_whatever_has_happened_nothing_is_left(home: Home, platform: Up, fault: str):
    before = everything(home)
    assert len(before) == 3
    FAULTS[fault](platform, before)
    done = run_down(home)
    assert (done.returncode, done.stdout) == (0, "stopped\n"), done.stderr
    assert not any(managed.alive(each) for each in before)
    assert platform.process.wait(60) is not None
    assert (holder(home), everything(home)) == (None, [])
    assert run_down(home).stdout == "nothing was running\n"


@pytest.fixture
def deaf(home: Home) -> Iterator[subprocess.Popen[bytes]]:
    process = subprocess.Popen([sys.executable, "-c", HEARS_NOTHING, str(home.root)])
    until(lambda: holder(home) == process.pid)
    yield process
    process.kill()
    process.wait()


async def test_a_controller_that_hears_nothing_is_killed_after_a_while(
    home: Home, settings: Settings, deaf: subprocess.Popen[bytes]
):
    lines: list[str] = []
    assert await down(home, settings, report=lines.append, patience=0.2)
    assert (deaf.wait(60), holder(home)) == (-signal.SIGKILL, None)
    assert any(f"process {deaf.pid} has not ended after 0.2 s" in line for line in lines)


@pytest.mark.slow
def test_real_replicas_in_their_sandbox_are_found_too(home: Home, store: Store, start: Callable[..., Up]):
    push(store, home.root / "p", 1.0)
    platform = start().ready()
    platform.call("PUT", "/v1/endpoints/digits", {"model": "digits:1", "replicas": 2}, wait=60)
    (home.logs / "control.out.log").write_bytes(b"x" * (log.MAX_BYTES + 1))
    until((home.logs / "control.out.log.1").exists)
    replicas = [psutil.Process(pid) for pid in platform.pids()]
    assert len(replicas) == 2
    platform.kill()
    done = run_down(home)
    assert (done.returncode, done.stdout) == (0, "stopped\n"), done.stderr
    assert not any(managed.alive(each) for each in replicas)


async def test_what_children_have_started_ends_too(home: Home, settings: Settings, child: subprocess.Popen[bytes]):
    assert await down(home, settings, report=print)
    assert child.wait(60) == -signal.SIGKILL
    assert not await down(home, settings, report=print)


async def test_what_lives_on_is_named(
    home: Home, settings: Settings, child: subprocess.Popen[bytes], monkeypatch: pytest.MonkeyPatch
):
    for module in (down_module, leftovers):
        monkeypatch.setattr(module, "end", lambda processes, drain=0.0: len(processes))
    with pytest.raises(Unavailable, match=rf"not everything has ended: process {child.pid} \(.*python") as told:
        await down(home, settings, report=print)
    assert told.value.exit != 0
    with pytest.raises(Unavailable, match=str(child.pid)):
        await leftovers.ensure_gone(home)


async def test_the_homes_of_others_are_left_alone(
    home: Home, settings: Settings, child: subprocess.Popen[bytes], tmp_path_factory: pytest.TempPathFactory
):
    other = Home(tmp_path_factory.mktemp("o")).create()
    assert not await down(other, settings, report=print)
    assert child.poll() is None


def test_one_that_has_ended_and_is_not_yet_waited_for_is_gone(child: subprocess.Popen[bytes]):
    process = psutil.Process(child.pid)
    assert managed.alive(process)
    child.kill()
    until(lambda: process.status() == psutil.STATUS_ZOMBIE)
    assert not managed.alive(process)
    assert end([process], drain=5.0) == 1
