"""The blocks of docs/guides/clouds.md, run as a reader would; and its table is that of the contracts."""

import contextlib
import os
import re
import signal
import subprocess
from pathlib import Path

import pytest

from argosy.serving.contracts import CONTRACTS
from tests.cli.models import linear
from tests.docs import page

PAGE = "docs/guides/clouds.md"


@pytest.mark.slow
def test_clouds(reader, tmp_path, capsys):
    pytest.importorskip("botocore")
    subprocess.run(
        ["argosy", "push", linear(tmp_path / "digits.onnx"), "--name", "digits"], check=True, capture_output=True
    )
    try:
        said = page.run(PAGE, reader, ports=["8080"], shown=("text",))
    finally:
        with contextlib.suppress(OSError, ValueError):
            os.kill(int(Path("serve.pid").read_text()), signal.SIGTERM)
    assert said.startswith("6.0\n15.0\n")
    assert "Contract sagemaker conformance" in said
    assert "FAIL" not in said
    assert "InferenceService" in said
    assert "predictions" in capsys.readouterr().out


def test_the_table_is_that_of_the_contracts():
    rows = re.findall(r"^\| `(\w+)` \| (.*) \|$", (page.ROOT / PAGE).read_text(), re.MULTILINE)
    assert {name for name, _ in rows} == set(CONTRACTS)
    for name, row in rows:
        contract = CONTRACTS[name]
        words = [*contract.signs, *contract.ports, *contract.models]
        assert [word for word in words if f"`{word}`" not in row] == [], name
        port = f"| {contract.port} "
        assert contract.host == "127.0.0.1" or contract.ports or port in row or f"| {contract.port};" in row, name
