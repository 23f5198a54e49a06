"""The blocks of docs/performance.md, run as a reader would."""

import subprocess
from pathlib import Path

import pytest

from argosy.spec.endpoint import Endpoint
from argosy.spec.strict import load_yaml
from tests.docs.test_readme import BLOCK, reader

__all__ = ["reader"]

PAGE = Path(__file__).parents[2] / "docs/performance.md"


@pytest.mark.timeout(300)
def test_performance(reader):
    said = ""
    for kind, text in BLOCK.findall(PAGE.read_text()):
        if kind == "sh":
            done = subprocess.run(["sh", "-ec", text], capture_output=True, text=True, timeout=150, check=False)
            assert done.returncode == 0, f"{text}\n{done.stdout}\n{done.stderr}"
            said += done.stdout
        elif kind == "python":
            exec(compile(text, "performance.md", "exec"), reader)
        elif kind == "yaml":
            assert load_yaml(f"name: m\nmodel: m:1\npayload: {{}}\n{text}", Endpoint, "the page").monitor
    assert "397 labels of digits taken" in said
    assert "as expected; agrees" in said
    assert "nothing has fallen" in said
