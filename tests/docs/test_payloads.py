"""The blocks of docs/guides/payloads.md, run as a reader would."""

import csv
import json
import subprocess
from pathlib import Path

import pytest

from tests.docs import page


@pytest.mark.slow
def test_payloads(reader):
    said = page.run("docs/guides/payloads.md", reader, shown=["text", "yaml", "sql"])
    assert "recorder: " in said
    read = subprocess.run(
        ["argosy", "logs", "payload", "digits", "--limit", "0", "--json"], capture_output=True, text=True, check=True
    )
    lines = [json.loads(line) for line in read.stdout.splitlines()]
    assert 100 < len(lines) <= 300
    assert all(len(line["input.pixel_3_4"]) == 32 for line in lines)
    with Path("some.csv").open() as file:
        assert len(list(csv.DictReader(file))) == sum(line["input.pixel_0_2"] > 5 for line in lines)
