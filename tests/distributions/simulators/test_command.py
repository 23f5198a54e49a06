import json
import xml.etree.ElementTree as ElementTree
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

from argosy.cli.main import argosy


@pytest.fixture
def trace(tmp_path: Path) -> Path:
    times = np.sort(np.random.default_rng(0).uniform(0, 600, 500))
    path = tmp_path / "trace.csv"
    path.write_text("arrival,service\n" + "".join(f"{at:.3f},2.5\n" for at in times))
    return path


def run(*words: str) -> str:
    result = CliRunner().invoke(argosy, ["simulate", "autoscale", *words], standalone_mode=False)
    if isinstance(result.exception, SystemExit):
        assert result.exception.code == 0, result.output
    return result.output


def test_table_lines_and_picture(trace: Path, tmp_path: Path) -> None:
    out = run("--trace", str(trace), "--cold-start", "20", "--plot", str(tmp_path / "out.svg"))
    for name in ("argosy", "kpa", "hpa", "ray", "static"):
        assert out.count(f"\n{name}") == 2
    assert ElementTree.parse(tmp_path / "out.svg").getroot().tag.endswith("svg")


def test_json(trace: Path) -> None:
    found = json.loads(run("--trace", str(trace), "--policy", "argosy,hpa", "--json"))
    assert [one["policy"] for one in found["policies"]] == ["argosy", "hpa"]
    assert found["requests"] == 500
    assert found["work_hours"] < found["clairvoyant_hours"]


@pytest.mark.parametrize("words", [("--policy", "magic"), ("--cold-start", "nan"), ("--service", "1,2")])
def test_what_makes_no_sense_is_refused(trace: Path, words: tuple[str, str]) -> None:
    result = CliRunner().invoke(argosy, ["simulate", "autoscale", "--trace", str(trace), *words])
    assert result.exit_code == 2
