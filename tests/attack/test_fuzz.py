"""A short run of the fuzzer over every reader of foreign bytes, the same inputs each time."""

import importlib.util
import os
import subprocess
import sys

import pytest

from attack.targets import TARGETS


@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.skipif(
    importlib.util.find_spec("atheris") is None,
    reason="atheris is not installed: it has wheels for Linux on x86-64",
)
def test_nothing_is_found():
    command = [sys.executable, "-m", "attack.fuzz", *sorted(TARGETS), "--runs", "2000"]
    done = subprocess.run(
        command, env={**os.environ, "PYTHONHASHSEED": "0"}, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr[-4000:]
    assert done.stderr.count("seed corpus") == len(TARGETS), done.stderr[-2000:]
