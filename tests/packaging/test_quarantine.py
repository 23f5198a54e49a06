import os
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from argosy.packaging.examine import Findings, Task
from argosy.packaging.load import CHECK, Check
from argosy.packaging.quarantine import GIB, Limits, Quarantine
from argosy.packaging.scan import Scanned, ScanResult
from argosy.process.managed import alive
from argosy.spec.errors import BadPackage, InvalidArgument, NotFound
from argosy.spec.package import Tolerance
from tests.packaging.conftest import Call, pickled

FAST = Limits(seconds=100)
EXAMINE, SCAN = "argosy.packaging.examine:examine", "argosy.packaging.scan:job"


def run(function, job, answer, *, what, limits):
    with Quarantine(what, limits) as place:
        return place.run(function, job, answer)


def examine(path, seconds=100.0, address_space=16 * GIB):
    """Load a pickle the way a push with --trust does."""
    limits = Limits(seconds=seconds, address_space=address_space)
    return run(
        EXAMINE,
        task(engine="sklearn", weights=str(path), into=str(path.parent)),
        Findings,
        what="evil.pkl",
        limits=limits,
    )


def task(**fields) -> Task:
    return Task(**({"settings": {}, "sample": "", "tolerance": Tolerance(), "trusted": True} | fields))


def test_errors_cross_the_border_with_their_class(tmp_path):
    with pytest.raises(NotFound, match="is no model package"):
        run(CHECK, Check(folder=str(tmp_path)), float, what="x", limits=FAST)


def test_an_unexpected_failure_is_a_bad_package_that_names_it(tmp_path):
    with pytest.raises(BadPackage, match="x failed with ValidationError: "):
        run(CHECK, Scanned(path=str(tmp_path), kind="pickle"), float, what="x", limits=FAST)


def test_one_child_answers_several_jobs_and_ends_with_the_block(tmp_path):
    path = pickled([1, 2], tmp_path / "m")
    with Quarantine("m", FAST) as place:
        first = place.run(SCAN, Scanned(path=str(path), kind="pickle"), ScanResult)
        pid = place._process.pid
        assert place.run(SCAN, Scanned(path=str(path), kind="pickle"), ScanResult) == first
        assert place._process.pid == pid
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)


@pytest.mark.parametrize("told", [True, False])
def test_a_child_that_was_not_let_at_a_file_gives_way_to_one_that_is(told, tmp_path):
    first, second = (pickled([1, 2], tmp_path / name) for name in ("m", "n"))
    with Quarantine("m", FAST, reads=[str(tmp_path)] if told else []) as place:
        place.run(SCAN, Scanned(path=str(first), kind="pickle"), ScanResult)
        pid = place._process.pid
        place.run(SCAN, Scanned(path=str(second), kind="pickle"), ScanResult)
        assert (place._process.pid == pid) == told


@pytest.mark.parametrize(
    ("value", "said"),
    [
        (Call(os._exit, 3), r"evil.pkl ended the process that ran it \(exit status 3\)"),
        (Call(os.abort), r"crashed the process that ran it \(SIGABRT\)"),
        (Call(os.write, 1, b"x"), "can neither predict|int"),
    ],
)
def test_a_model_that_ends_the_process_is_bad(value, said, tmp_path):
    with pytest.raises(BadPackage, match=said):
        examine(pickled(value, tmp_path / "m"))


def test_a_model_that_hangs_is_stopped(tmp_path):
    path = pickled(Call(time.sleep, 987.25), tmp_path / "m")
    with pytest.raises(BadPackage, match="did not finish within 6 s and was stopped"):
        examine(path, seconds=6)
    assert not [each for each in psutil.Process().children() if alive(each) and _ours(each)]


def _ours(process: psutil.Process) -> bool:
    """Whether a child is a quarantine: the session's shared servers are children, too."""
    return any("argosy.process.child" in word for word in process.cmdline())


def test_a_model_starts_no_process(tmp_path):
    path = pickled(Call(subprocess.call, ["sleep", "987.25"]), tmp_path / "m")
    with pytest.raises(BadPackage, match="Operation not permitted"):
        examine(path)


def test_a_model_that_takes_all_memory_is_refused(tmp_path):
    with pytest.raises(BadPackage, match=r"[Mm]emory"):
        examine(pickled(Call(bytearray, 64 * GIB), tmp_path / "m"), address_space=8 * GIB)


def test_nonsense_on_the_pipe_is_a_bad_package(monkeypatch, tmp_path):
    with Quarantine("m", FAST) as place:
        place._exchange = lambda line: b"garbage\n"
        with pytest.raises(BadPackage, match="answer nonsense"):
            place.run(SCAN, Scanned(path=str(tmp_path), kind="pickle"), ScanResult)


def test_the_environment_of_the_child_holds_no_secrets(monkeypatch, tmp_path):
    monkeypatch.setenv("ARGOSY_KEY", "secret")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret")
    monkeypatch.setenv("SMTP_PASSWORD", "secret")
    with Quarantine("m", FAST) as place:
        place._start(SCAN)
        assert b"secret" not in Path(f"/proc/{place._process.pid}/environ").read_bytes()


def test_only_jobs_of_ours_run(tmp_path):
    for function in ("os:system", "argosyx:f", ".os:system", "builtins:exec", "argosy.packaging.load:os.system", ""):
        with pytest.raises(BadPackage, match=r"x failed with (ValueError|AttributeError)"):
            run(function, Check(folder=str(tmp_path)), float, what="x", limits=FAST)


def test_a_pickle_without_trust_is_not_loaded(tmp_path):
    asked = task(engine="python", weights=str(tmp_path), settings={"class": "model:Scale"}, into=str(tmp_path))
    with pytest.raises(InvalidArgument, match="sample"):
        run(EXAMINE, asked, Findings, what="x", limits=FAST)


def test_a_killed_push_takes_its_child_along(tmp_path):
    path = pickled(Call(time.sleep, 900), tmp_path / "m")
    script = (
        "import sys, threading, time; from argosy.packaging.examine import Findings, Task\n"
        "from argosy.packaging.quarantine import Quarantine; from argosy.spec.package import Tolerance\n"
        "place, (weights, into) = Quarantine('m'), sys.argv[1:]\n"
        "task = Task(engine='sklearn', weights=weights, settings={}, trusted=True, sample='',"
        " tolerance=Tolerance(), into=into)\n"
        "run = threading.Thread(target=place.run, args=('argosy.packaging.examine:examine', task, Findings))\n"
        "run.start()\n"
        "while place._process is None: time.sleep(0.01)\n"
        "print(place._process.pid, flush=True); run.join()"
    )
    parent = subprocess.Popen(
        [sys.executable, "-c", script, str(path), str(tmp_path)], stdout=subprocess.PIPE, text=True
    )
    with parent:
        process = psutil.Process(int(parent.stdout.readline()))
        deadline = time.monotonic() + 60
        while b"\0argosy.process.child\0" not in Path(f"/proc/{process.pid}/cmdline").read_bytes():
            assert time.monotonic() < deadline
        parent.kill()
    while alive(process):
        assert time.monotonic() < deadline
        time.sleep(0.02)
