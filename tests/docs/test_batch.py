"""The blocks of docs/guides/batch.md, run as a reader would."""

import json
from pathlib import Path

import pyarrow.dataset
import pytest

from tests.docs import page


@pytest.mark.slow
def test_batch(reader, monkeypatch):
    monkeypatch.setenv("ARGOSY_BATCH_IDLE", "false")  # beside other tests an idle job gets no core for minutes
    page.run("docs/guides/batch.md", reader)
    seals = [json.loads(Path(folder, "_argosy/seal.json").read_text()) for folder in ("out", "again")]
    assert [seal["rows"] for seal in seals] == [1797, 1797]
    assert (reader["result"].rows, reader["result"].quarantined) == (1797, 0)
    tables = [pyarrow.dataset.dataset(folder).to_table().to_pydict() for folder in ("out", "again")]
    assert tables[0] == tables[1]
    assert tables[0]["id"] == list(range(1797))
    labels = reader["model"].predict(reader["x"])
    assert tables[0]["label"] == labels.tolist()
