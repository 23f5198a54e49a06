"""The blocks of docs/guides/cost.md, run as a reader would."""

import pytest

from argosy.spec.endpoint import Endpoint
from argosy.spec.strict import load_yaml
from tests.docs import page


def check(text):
    assert load_yaml(f"name: m\nmodel: m:1\n{text}", Endpoint, "the page").guard.thresholds[0].metric == "cost"


@pytest.mark.slow
def test_cost(reader):
    said = page.run("docs/guides/cost.md", reader, checks={"yaml": check}, shown=["text"])
    assert "total" in said
    assert "THIS HOUR" in said
    assert "A REQUEST" in said
    assert "invoice" in said
    assert "EUR" not in said, "the rate is declared"
