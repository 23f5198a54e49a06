"""The blocks of docs/alerts.md, run as a reader would."""

import os
import subprocess
from pathlib import Path

import pytest

from tests.docs.test_readme import BLOCK, free_port, reader

__all__ = ["reader"]

PAGE = Path(__file__).parents[2] / "docs/alerts.md"


@pytest.mark.timeout(240)
def test_alerts(reader):
    port, said = free_port(), ""
    for kind, text in BLOCK.findall(PAGE.read_text().replace("8099", port)):
        if kind == "sh":
            done = subprocess.run(["sh", "-ec", text], capture_output=True, text=True, timeout=120, check=False)
            assert done.returncode == 0, f"{text}\n{done.stdout}\n{done.stderr}"
            said += done.stdout
        else:
            exec(compile(text, "alerts.md", "exec"), reader)
    reader["desk"].shutdown()
    reader["desk"].server_close()
    assert "127.0.0.1 answered 200" in said
    assert "digits/slo/availability@" in said
    assert "muted until" in said
    assert "a drill" in said
    assert {each["status"] for each in reader["came"]} == {"firing"}
    assert "ops" in Path(os.environ["ARGOSY_HOME"], "config.yaml").read_text()
