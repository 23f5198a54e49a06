"""The blocks of docs/drift.md, run as a reader would."""

import subprocess
from pathlib import Path

import pytest

from tests.docs.test_readme import BLOCK, reader

__all__ = ["reader"]

PAGE = Path(__file__).parents[2] / "docs/drift.md"


@pytest.mark.timeout(300)
def test_drift(reader):
    for kind, text in BLOCK.findall(PAGE.read_text()):
        if kind == "sh":
            done = subprocess.run(["sh", "-ec", text], capture_output=True, text=True, timeout=200, check=False)
            assert done.returncode == 0, f"{text}\n{done.stdout}\n{done.stderr}"
        elif kind == "python":
            exec(compile(text, "drift.md", "exec"), reader)
    verdicts = {line.split("  ")[0]: line.rpartition("  ")[2] for line in Path("drift.txt").read_text().splitlines()}
    assert verdicts["petal length (cm)"] == "drift"
    assert verdicts["sepal width (cm)"] == "no drift"
    assert "<svg" in Path("iris.html").read_text()
    print(Path("drift.txt").read_text())
