"""The blocks of docs/payloads.md, run as a reader would."""

import csv
import json
import subprocess
from pathlib import Path

import pytest

from tests.docs.test_readme import BLOCK, reader

__all__ = ["reader"]

PAGE = Path(__file__).parents[2] / "docs/payloads.md"


@pytest.mark.timeout(240)
def test_payloads(reader):
    said = ""
    for kind, text in BLOCK.findall(PAGE.read_text()):
        if kind == "sh":
            done = subprocess.run(["sh", "-ec", text], capture_output=True, text=True, timeout=120, check=False)
            assert done.returncode == 0, f"{text}\n{done.stdout}\n{done.stderr}"
            said += done.stdout
        elif kind == "python":
            exec(compile(text, "payloads.md", "exec"), reader)
    assert "recorder: " in said
    read = subprocess.run(
        ["argosy", "logs", "payload", "digits", "--limit", "0", "--json"], capture_output=True, text=True, check=True
    )
    lines = [json.loads(line) for line in read.stdout.splitlines()]
    assert 100 < len(lines) <= 300
    assert all(len(line["input.pixel_3_4"]) == 32 for line in lines)
    with Path("some.csv").open() as file:
        assert len(list(csv.DictReader(file))) == sum(line["input.pixel_0_2"] > 5 for line in lines)
