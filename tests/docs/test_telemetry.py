"""The blocks of docs/telemetry.md, run as a reader would; and the series it names are those there are."""

import re
import subprocess
from pathlib import Path

import pytest

from tests.docs.test_readme import BLOCK, free_port, reader

__all__ = ["reader"]

PAGE = Path(__file__).parents[2] / "docs/telemetry.md"


@pytest.mark.timeout(240)
def test_telemetry(reader, capsys):
    said = ""
    for kind, text in BLOCK.findall(PAGE.read_text().replace("4318", free_port())):
        if kind == "sh":
            done = subprocess.run(["sh", "-ec", text], capture_output=True, text=True, timeout=120, check=False)
            assert done.returncode == 0, f"{text}\n{done.stdout}\n{done.stderr}"
            said += done.stdout
        else:
            exec(compile(text, "telemetry.md", "exec"), reader)
    reader["collector"].should_exit = True
    told = [line.split()[:2] for line in capsys.readouterr().out.splitlines() if line.endswith("µs")]
    assert [name for _, name in told] == ["ingress", "router", "request", "queue", "batch", "run"]
    assert 'argosy_endpoint_replicas_ready{endpoint="digits"} 1.0' in said
    assert "valid prometheus config" in said


def test_every_series_that_is_named_exists():
    source = Path(__file__).parents[2] / "src/argosy"
    files = [*source.glob("control/telemetry/*.py"), source / "serving/metrics.py"]
    known = "\n".join(path.read_text() for path in files)
    for name in re.findall(r"`(argosy_[a-z_]+[a-z])(?:_total)?(?:\{[a-z,]+\})?`", PAGE.read_text()):
        assert re.search(rf"\b{name.removesuffix('_total')}\b", known), name
