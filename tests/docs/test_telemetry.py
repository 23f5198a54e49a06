"""The blocks of docs/guides/telemetry.md, run as a reader would; and the series it names are those there are."""

import re

import pytest

from tests.docs import page


@pytest.mark.slow
def test_telemetry(reader, capsys):
    said = page.run("docs/guides/telemetry.md", reader, ports=["4318"])
    reader["collector"].should_exit = True
    told = [line.split()[:2] for line in capsys.readouterr().out.splitlines() if line.endswith("µs")]
    assert [name for _, name in told] == ["ingress", "router", "request", "queue", "batch", "run"]
    assert 'argosy_endpoint_replicas_ready{endpoint="digits"} 1.0' in said
    assert "valid prometheus config" in said


def test_every_series_that_is_named_exists():
    source = page.ROOT / "src/argosy"
    files = [*source.glob("api/metrics/*.py"), source / "serving/metrics.py"]
    known = "\n".join(path.read_text() for path in files)
    text = (page.ROOT / "docs/guides/telemetry.md").read_text()
    for name in re.findall(r"`(argosy_[a-z_]+[a-z])(?:_total)?(?:\{[a-z,]+\})?`", text):
        assert re.search(rf"\b{name.removesuffix('_total')}\b", known), name
