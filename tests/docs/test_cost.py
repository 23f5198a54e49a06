"""The blocks of docs/guides/cost.md, run as a reader would."""

import pytest

from tests.docs import page


@pytest.mark.slow
@pytest.mark.timeout(240)
def test_cost(reader):
    said = page.run("docs/guides/cost.md", reader, shown=["text"])
    print(said)
    assert "total" in said
    assert "THIS HOUR" in said
    assert "A REQUEST" in said
    assert "invoice" in said
    assert "EUR" not in said, "the rate is declared"
