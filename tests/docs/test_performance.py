"""The blocks of docs/guides/performance.md, run as a reader would."""

import pytest

from argosy.spec.endpoint import Endpoint
from argosy.spec.strict import load_yaml
from tests.docs import page


def check(text):
    assert load_yaml(f"name: m\nmodel: m:1\npayload: {{}}\n{text}", Endpoint, "the page").monitor


@pytest.mark.slow
def test_performance(reader):
    said = page.run("docs/guides/performance.md", reader, seconds=150, checks={"yaml": check}, shown=["text"])
    assert "397 labels of digits taken" in said
    assert "as expected; agrees" in said
    assert "nothing has fallen" in said
