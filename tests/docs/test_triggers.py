"""The blocks of docs/triggers.md, run as a reader would."""

import subprocess
from pathlib import Path

import pytest

from argosy.spec.endpoint import Endpoint
from argosy.spec.strict import load_yaml
from tests.docs.test_readme import BLOCK, reader

__all__ = ["reader"]

PAGE = Path(__file__).parents[2] / "docs/triggers.md"
AROUND = "name: m\nmodel: m:1\npayload: {}\nmonitor: {reference: /held-out.parquet}\n"


@pytest.mark.timeout(300)
def test_triggers(reader):
    said = ""
    for kind, text in BLOCK.findall(PAGE.read_text()):
        if kind == "sh":
            done = subprocess.run(["sh", "-ec", text], capture_output=True, text=True, timeout=150, check=False)
            assert done.returncode == 0, f"{text}\n{done.stdout}\n{done.stderr}"
            said += done.stdout
        elif kind == "python":
            exec(compile(text, "triggers.md", "exec"), reader)
        elif kind == "yaml":
            assert len(load_yaml(AROUND + text, Endpoint, "the page").triggers) == 2
    assert "realised accuracy of version 1 is 0.0" in said
    assert "397 rows to train on, with 64 inputs and their label" in said
    assert "done" in said
    assert "trigger-end" in said
