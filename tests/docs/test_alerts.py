"""The blocks of docs/guides/alerts.md, run as a reader would."""

import os
from pathlib import Path

import pytest

from tests.docs import page


@pytest.mark.slow
def test_alerts(reader):
    said = page.run("docs/guides/alerts.md", reader, ports=["8099"])
    reader["desk"].shutdown()
    reader["desk"].server_close()
    assert "127.0.0.1 answered 200" in said
    assert "digits/slo/availability@" in said
    assert "muted until" in said
    assert "a drill" in said
    assert {each["status"] for each in reader["came"]} - {"worse"} == {"firing"}
    assert "ops" in Path(os.environ["ARGOSY_HOME"], "config.yaml").read_text()
