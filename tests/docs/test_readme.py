"""The README's blocks, run as a reader would."""

import pytest

from tests.docs import page


@pytest.mark.slow
def test_quick_start(reader):
    assert [block.language for block in page.blocks("README.md")].count("sh") >= 3
    page.run("README.md", reader, shown=["text"])
