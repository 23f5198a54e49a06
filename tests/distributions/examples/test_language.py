"""`argosy demo --language`, with Gemma: `make demo-llm` is the same."""

import json
import subprocess
import sys

import pytest

STEPS = ["pushed", "serves", "streams", "caches", "counts", "limits", "serves", "updates"]


@pytest.mark.slow
def test_every_step_holds():
    command = [sys.executable, "-m", "argosy", "demo", "--language", "--once", "--json"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert [(one["name"], one["held"]) for one in found["links"]] == [(step, True) for step in STEPS], done.stderr
    assert {row["name"] for row in found["usage"]} == {"team-a"}
