"""The blocks of docs/guides/tokens.md, run as a reader would."""

import os
from pathlib import Path

import pytest

from tests.docs import page
from tests.language.weights import gemma


@pytest.mark.slow
@pytest.mark.timeout(480)
def test_tokens(reader, capsys):
    os.symlink(gemma(), "gemma.gguf")
    said = page.run("docs/guides/tokens.md", reader, seconds=300)
    assert "team-a" in said
    assert Path("key").read_text().startswith("ak_")
    printed = capsys.readouterr().out
    assert "x-ratelimit-limit-tokens 20000" in printed
    assert "429 this request may need" in printed
    assert 'gen_ai_client_token_usage_total{endpoint="gemma"' in said
