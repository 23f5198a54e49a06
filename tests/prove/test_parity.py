"""`python -m prove.parity`, for one model."""

import subprocess
import sys

import pytest

from tests import programs


@pytest.mark.slow
def test_a_network_answers_alike_in_every_mode(tmp_path):
    for program in ("gcc", "emcc", "node", "arm-none-eabi-gcc", "qemu-system-arm", "qemu-aarch64", "chromedriver"):
        programs.need(program)
    command = [sys.executable, "-m", "prove.parity", "--models", "network"]
    command += ["--onnxruntime-web", str(programs.onnxruntime_web(tmp_path))]
    ran = subprocess.run(command, capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stdout + ran.stderr
    assert "not run" not in ran.stdout
