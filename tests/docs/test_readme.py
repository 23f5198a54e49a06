"""The README's blocks, run as a reader would: in order, in an empty folder, with a home of its own."""

import os
import re
import socket
import subprocess
import sys
from pathlib import Path

import pytest

README = Path(__file__).parents[2] / "README.md"
BLOCK = re.compile(r"^```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def free_port():
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return str(found.getsockname()[1])


@pytest.fixture
def reader(tmp_path_factory, monkeypatch):
    folder = tmp_path_factory.mktemp("r")
    monkeypatch.chdir(folder)
    environment = {
        "ARGOSY_HOME": str(folder / "h"),
        "ARGOSY_GATEWAY_PORT": free_port(),
        "ARGOSY_CONTROL_PORT": free_port(),
        "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
    }
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    yield {}
    subprocess.run(["argosy", "down"], capture_output=True, timeout=60, check=False)


@pytest.mark.timeout(240)
def test_quick_start(reader):
    blocks = BLOCK.findall(README.read_text())
    assert [kind for kind, _ in blocks].count("sh") >= 3
    for kind, text in blocks:
        if kind == "sh":
            done = subprocess.run(["sh", "-ec", text], capture_output=True, text=True, timeout=120, check=False)
            assert done.returncode == 0, f"{text}\n{done.stdout}\n{done.stderr}"
        elif kind == "python":
            exec(compile(text, "README.md", "exec"), reader)
