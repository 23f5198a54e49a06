"""The demo as a user runs it."""

import importlib.util
import os
import subprocess
import sys

import msgspec
import psutil
import pytest

from argosy.demo.needs import PACKAGES

pytestmark = [
    pytest.mark.skipif(
        any(importlib.util.find_spec(name) is None for name in PACKAGES), reason="the extra 'demo' is not installed"
    ),
    pytest.mark.xdist_group("demo"),
]


def start(tmp_path, *options):
    environ = {**os.environ, "TMPDIR": str(tmp_path), "ARGOSY_GATEWAY_PORT": "1", "PYTHONWARNINGS": "error"}
    command = [sys.executable, "-m", "argosy", "demo", *options]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environ)


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


def test_once(tmp_path):
    process = start(tmp_path, "--once", "--json")
    out, err = process.communicate(timeout=110)
    assert process.returncode == 0, err
    found = {one["name"]: one for one in msgspec.json.decode(out)}
    assert set(found) == {"digits", "flights", "filetypes"}
    assert {one["engine"] for one in found.values()} == {"onnx", "lightgbm"}
    for one in found.values():
        assert one["good"]
        assert one["score"]["value"] >= one["score"]["floor"] > 0.5
        assert 0 < one["p50_ms"] <= one["p99_ms"]
        assert one["requests"] * one["rows_each"] >= one["rows"]
        assert f"ok  {one['name']}: " in err
    assert list(tmp_path.iterdir()) == []
    assert left(tmp_path) == []
