"""The blocks of docs/guides/drift.md, run as a reader would."""

from pathlib import Path

import pytest

from tests.docs import page


@pytest.mark.slow
def test_drift(reader):
    page.run("docs/guides/drift.md", reader, seconds=200, shown=["text"])
    verdicts = {line.split("  ")[0]: line.rpartition("  ")[2] for line in Path("drift.txt").read_text().splitlines()}
    assert verdicts["petal length (cm)"] == "drift"
    assert verdicts["sepal width (cm)"] == "no drift"
    assert "<svg" in Path("iris.html").read_text()
    print(Path("drift.txt").read_text())
