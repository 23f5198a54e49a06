"""Who reads a page: in an empty folder, with a home and ports of their own."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.docs.page import free_port


@pytest.fixture
def reader(tmp_path_factory, monkeypatch):
    """The variables of the page's Python blocks; what runs in the home is ended behind them."""
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
