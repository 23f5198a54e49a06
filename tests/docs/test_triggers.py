"""The blocks of docs/guides/triggers.md, run as a reader would."""

import pytest

from argosy.spec.endpoint import Endpoint
from argosy.spec.strict import load_yaml
from tests.docs import page

AROUND = "name: m\nmodel: m:1\npayload: {}\nmonitor: {reference: /held-out.parquet}\n"


def check(text):
    assert len(load_yaml(AROUND + text, Endpoint, "the page").triggers) == 2


@pytest.mark.slow
def test_triggers(reader):
    said = page.run("docs/guides/triggers.md", reader, seconds=150, checks={"yaml": check}, shown=["text"])
    assert "realised accuracy of version 1 is 0.0" in said
    assert "397 rows to train on, with 64 inputs and their label" in said
    assert "done" in said
    assert "trigger-end" in said
