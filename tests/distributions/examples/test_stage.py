"""The demo as a user runs it."""

import contextlib
import importlib.util
import os
import signal
import subprocess
import sys
import time

import msgspec
import numpy as np
import psutil
import pytest

from argosy.packaging.options import PushOptions
from argosy.spec.errors import Conflict
from argosy.spec.tensor import tensor
from argosy_examples import home
from argosy_examples import stage as stages
from argosy_examples.case import Case, Score
from argosy_examples.needs import PACKAGES
from argosy_examples.stage import curl, stage
from tests.cli import models

pytestmark = [
    pytest.mark.skipif(
        any(importlib.util.find_spec(name) is None for name in PACKAGES), reason="the extra 'demo' is not installed"
    ),
    pytest.mark.xdist_group("demo"),
]


@pytest.fixture
def tmp_path(tmp_path_factory):
    """Short, as sockets have to lie below it."""
    return tmp_path_factory.mktemp("d")


@pytest.fixture
def start(tmp_path):
    """Runs the demo; it is gone afterwards, whatever happened."""
    started = []
    yield lambda *options: started.append(begin(tmp_path, *options)) or started[-1]
    for process in started:
        process.kill()
        process.communicate()
    home.sweep(tmp_path)


def begin(tmp_path, *options):
    environ = {**os.environ, "TMPDIR": str(tmp_path), "ARGOSY_GATEWAY_PORT": "1", "PYTHONWARNINGS": "error"}
    command = [sys.executable, "-m", "argosy", "demo", *options]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environ)


def gone(folder):
    """Whether the last process that names the folder ends soon."""
    end = time.monotonic() + 60
    while left(folder) and time.monotonic() < end:
        time.sleep(0.05)
    return not left(folder)


def left(folder):
    """Processes that name the folder."""
    found = []
    for process in psutil.process_iter():
        try:
            words = [*process.cmdline(), process.environ().get("ARGOSY_HOME", "")]
        except psutil.Error:
            continue
        if any(str(folder) in word for word in words):
            found.append(process)
    return found


@pytest.mark.slow
def test_once(start, tmp_path):
    process = start("--once", "--json")
    out, err = process.communicate(timeout=220)
    assert process.returncode == 0, err
    found = {one["name"]: one for one in msgspec.json.decode(out)}
    assert set(found) == {"digits", "flights", "filetypes"}
    assert {one["engine"] for one in found.values()} == {"onnx"}
    for one in found.values():
        assert one["good"]
        assert one["score"]["value"] >= one["score"]["floor"] > 0.5
        assert 0 < one["p50_ms"] <= one["p99_ms"]
        assert one["requests"] * one["rows_each"] >= one["rows"]
        assert f"ok  {one['name']}: " in err
    assert list(tmp_path.iterdir()) == []
    assert gone(tmp_path)


def until(process, text):
    """Read standard error up to a text."""
    for line in process.stderr:
        if text in line:
            return
    raise AssertionError(f"it ended without saying {text!r}")


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_an_interruption_leaves_nothing(start, tmp_path, number):
    process = start()
    until(process, "digits: training")
    process.send_signal(number)
    process.communicate(timeout=100)
    assert process.returncode == 130
    assert list(tmp_path.iterdir()) == []
    assert gone(tmp_path)


@pytest.mark.slow
def test_an_end_that_nobody_reads_of_leaves_nothing(start, tmp_path):
    process = start()
    until(process, "digits: training")
    process.stdout.close()
    process.stderr.close()
    process.send_signal(signal.SIGHUP)
    process.wait(100)
    assert list(tmp_path.iterdir()) == []
    assert gone(tmp_path)


def lose_an_interruption():
    with contextlib.suppress(KeyboardInterrupt):
        signal.raise_signal(signal.SIGINT)
        pytest.fail("it did not interrupt")
    time.sleep(60)


def test_an_interruption_that_is_lost_is_repeated(monkeypatch):
    monkeypatch.setattr(stages, "AGAIN_SECONDS", 0.05)
    before = signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background job ignores it
    try:
        with pytest.raises(KeyboardInterrupt), stages._endings():
            lose_an_interruption()
    finally:
        signal.signal(signal.SIGINT, before)
    assert signal.getitimer(signal.ITIMER_REAL) == (0.0, 0.0)


@pytest.mark.slow
def test_the_next_demo_clears_up_after_a_killed_one(start, tmp_path):
    process = start()
    until(process, "digits: training")
    process.kill()
    process.communicate()
    assert left(tmp_path)
    home.sweep(tmp_path)
    assert list(tmp_path.iterdir()) == []
    assert gone(tmp_path)


def linear(folder, slope=2.0):
    """A case of one weight, with the answers it should give."""
    rows = np.arange(40, dtype="f4").reshape(-1, 1)

    def judge(outputs):
        (answers,) = outputs.values()
        right = float((answers == rows * 2.0).mean())
        return Score(measure="accuracy", value=right, floor=0.9, note="")

    source = models.linear(folder / f"{slope}.onnx", weight=slope, features=1)
    return Case(
        name="lin",
        about="a line",
        source=source,
        options=PushOptions(),
        inputs=(tensor("x", rows),),
        judge=judge,
        form="binary",
        rows_each=3,
        replicas=1,
    )


def test_a_stage_plays_judges_and_shows_how_to_ask(tmp_path):
    place = tmp_path / "a folder"
    with stage(place, lambda line: None, seconds=0) as running:
        found = running.play(lambda folder, report: linear(folder), lambda line: None)
        assert (found.ref, found.rows, found.requests, found.good) == ("lin:1", 40, 14, True)
        (live,) = running.live
        answer = subprocess.run(curl(live, running.key), shell=True, capture_output=True, check=True).stdout
        assert msgspec.json.decode(answer)["outputs"][0]["data"] == [0, 2, 4]
        assert live.url.startswith(running.gateway)
        with pytest.raises(Conflict, match="already runs"):
            home.claim(place)
        wrong = running.play(lambda folder, report: linear(folder, slope=3.0), lambda line: None)
        assert (wrong.ref, wrong.good) == ("lin:2", False)
    assert gone(place)
    assert (place / "demo" / "lin.json").is_file()
