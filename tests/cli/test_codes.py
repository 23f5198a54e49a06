"""A column of codes with leading zeros: the same text in a sample, in batch and in a request."""

import os
import re
import subprocess
import sys
import time

import msgspec
import pyarrow.parquet as pq
import pytest

SOURCE = """
import numpy as np

class Model:
    def load(self, path):
        pass

    def predict(self, inputs):
        return {"told": np.array([b"%s/%d" % pair for pair in zip(inputs["zip"], inputs["n"])], object)}
"""
ROWS = "zip,n\n01234,1\n00501,2\n94105,3\n"
CODES = ["01234/1", "00501/2", "94105/3"]


@pytest.fixture
def rows(tmp_path):
    path = tmp_path / "rows.csv"
    path.write_text(ROWS)
    return path


@pytest.fixture
def pushed(run, rows, tmp_path):
    (tmp_path / "model.py").write_text(SOURCE)
    result = run("push", tmp_path / "model.py", "--name", "codes", "--sample", rows, "--trust", "--json")
    assert result.exit_code == 0, result.stderr


@pytest.fixture
def url(pushed, tmp_path):
    """A replica of the model."""
    command = [sys.executable, "-m", "argosy", "serve", "codes:1", "--port", "0"]
    log = tmp_path / "log"
    with log.open("wb") as output, subprocess.Popen(command, stdout=output, stderr=output, env=os.environ) as process:
        limit = time.monotonic() + 60
        while (found := re.search(r"http://127\.0\.0\.1:[1-9]\d*", log.read_text())) is None:
            assert process.poll() is None, log.read_text()
            assert time.monotonic() < limit
            time.sleep(0.02)
        yield found[0]
        process.terminate()


@pytest.mark.slow
def test_a_code_is_the_same_text_in_sample_batch_and_request(run, url, rows, tmp_path):
    inputs = msgspec.json.decode(run("models", "show", "codes:1", "--json").stdout)["manifest"]["signature"]["inputs"]
    assert [(one["name"], one["datatype"]) for one in inputs] == [("zip", "BYTES"), ("n", "INT64")]
    result = run("predict", "codes", "--url", url, "-d", f"@{rows}", "--json")
    assert result.exit_code == 0, result.stderr
    assert msgspec.json.decode(result.stdout)["outputs"][0]["data"] == CODES
    result = run("batch", "run", "codes:1", "--input", rows, "--output", tmp_path / "out", "--keep", "zip")
    assert result.exit_code == 0, result.stderr
    (part,) = (tmp_path / "out").glob("*.parquet")
    assert pq.read_table(part).to_pydict() == {"zip": [code[:5] for code in CODES], "told": CODES}
