"""The blocks of docs/guides/routing.md, run as a reader would."""

from pathlib import Path

import pytest

from tests.docs import page


@pytest.mark.slow
def test_routing(reader):
    page.run("docs/guides/routing.md", reader, shown=["text"])
    assert Path("routing.svg").read_text().startswith("<svg ")
