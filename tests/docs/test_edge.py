"""The blocks of docs/guides/edge.md, run as a reader would: a platform and a device on one machine."""

import contextlib
import os
from pathlib import Path

import psutil
import pytest

from tests.docs import page


@pytest.fixture
def ended():
    """The device's agent does not outlive a test that fails."""
    yield
    pid = Path("device.pid")
    with contextlib.suppress(OSError, ValueError, psutil.NoSuchProcess):
        psutil.Process(int(pid.read_text())).kill()


@pytest.mark.slow
def test_edge(reader, ended):
    ports = {"8080": os.environ["ARGOSY_GATEWAY_PORT"], "8000": page.free_port()}
    said = page.run("docs/guides/edge.md", reader, ports=ports)
    assert "this is device scanner-1 of fleet scanners" in said
    assert "digits:1, update 1" in said
    assert "device scanner-1 is revoked" in said
