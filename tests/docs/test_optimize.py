"""The blocks of docs/guides/optimize.md, run as a reader would."""

import pytest

from tests.docs import page


@pytest.mark.slow
def test_optimize(reader):
    said = page.run("docs/guides/optimize.md", reader, shown=("text",))
    assert "optimized from digits:1" in said
    assert "int8-clipped" in said
