"""`argosy serve` and `argosy tune` with a fake engine in the place of vLLM."""

import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import httpx
import msgspec
import pytest

from argosy.client.language import Measured, best
from tests.language.packages import fake_package
from tests.ports import free


@pytest.fixture
def package(place, tmp_path, monkeypatch) -> Path:
    """What the fake engine serves."""
    monkeypatch.setenv("ARGOSY_VLLM_PYTHON", str(Path(__file__).parents[1] / "fake_vllm"))
    monkeypatch.setenv("PATH", f"{Path(sys.executable).parent}:{os.environ['PATH']}")
    return fake_package(tmp_path / "p")


def test_the_command_that_it_runs(run, package):
    said = run("serve", package, "--dry-run", "--context", 512, "--slots", 2, "--threads", 3, "--port", free()).stdout
    assert said.startswith("HF_HUB_OFFLINE=1 VLLM_NO_USAGE_STATS=1 OMP_NUM_THREADS=3 ")
    assert " --max-num-seqs 2 " in said
    assert " --max-model-len 512 " in said


def test_what_it_refuses(run, package, tmp_path):
    assert run("serve", package, "--kv-type", "q8_0", "--port", 0).exit_code != 0
    (tmp_path / "m.onnx").write_bytes(b"x")
    refused = run("serve", tmp_path / "m.onnx", "--slots", 2)
    assert (refused.exit_code, "is no language model" in refused.stderr) == (2, True)
    assert "is no language model" in run("tune", tmp_path / "m.onnx").stderr
    assert "as 1,2,4" in run("tune", package, "--slots", "0,x").stderr


def test_serve_drains(package):
    command = [sys.executable, "-m", "argosy", "serve", str(package), "--port", "0", "--threads", "1", "--name", "g"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=os.environ) as process:
        try:
            text = ""
            while "\ncurl" not in text:
                line = process.stdout.readline()
                assert line
                text += line
            base = re.search(r"url +(\S+)", text)[1]
            body = {"model": "g", "messages": [], "stream": True, "fake": {"tokens": 40, "each": 0.02}}
            with httpx.stream("POST", f"{base}/chat/completions", json=body, timeout=60, trust_env=False) as answer:
                lines = (line for line in answer.iter_lines() if line)
                assert next(lines).startswith("data: ")
                process.send_signal(signal.SIGINT)
                assert list(lines)[-1] == "data: [DONE]"
            assert process.wait() == 0
        finally:
            process.kill()


def test_tune_prints_the_curve(run, package):
    tried = ["--threads", "1", "--slots", "1,2", "--batch-tokens", "64", "--prompt-tokens", "10"]
    done = run("tune", package, *tried, "--output-tokens", 4)
    assert done.exit_code == 0, done.output
    assert [line.split()[:3] for line in done.stdout.splitlines()[1:3]] == [["1", "1", "64"], ["1", "2", "64"]]
    assert "runtime:\n  threads: 1\nlanguage:\n  slots: " in done.stdout
    told = msgspec.json.decode(run("tune", package, *tried, "--output-tokens", 4, "--json").stdout)
    assert [one["slots"] for one in told] == [1, 2]


def test_the_best_is_within_the_goals():
    def point(slots: int, ttft: float, each: float, rate: float) -> Measured:
        return Measured(threads=1, slots=slots, batch_tokens=1, ttft=ttft, each=each, rate=rate)

    points = [point(1, 0.1, 0.01, 10), point(2, 0.2, 0.02, 15), point(4, 0.9, 0.02, 20), point(8, 0.2, 0.2, 30)]
    assert best(points, 0.5, 0.1) == points[1]
    assert best(points, 0.05, 0.1) is None
