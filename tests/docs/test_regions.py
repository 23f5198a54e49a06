"""The blocks of docs/guides/regions.md, run as a reader would."""

import json
import subprocess
from pathlib import Path

import pytest

from tests.docs import page


@pytest.mark.slow
def test_regions(reader, monkeypatch):
    west = Path.cwd() / "w"
    monkeypatch.setenv("WEST", str(west))
    try:
        said = page.run("docs/guides/regions.md", reader, ports=["8180", "7170"])
    finally:
        down = {"ARGOSY_HOME": str(west)}
        subprocess.run(
            ["env", *(f"{k}={v}" for k, v in down.items()), "argosy", "down"],
            capture_output=True,
            timeout=60,
            check=False,
        )
    assert "region west is there" in said
    assert "region west is removed" in said
    left = json.loads(
        subprocess.run(["argosy", "regions", "ls", "--json"], capture_output=True, text=True, check=True).stdout
    )
    assert [each["name"] for each in left] == ["east"]
    assert list(left[0]["endpoints"]) == ["iris"]
