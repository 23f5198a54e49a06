"""The blocks of docs/guides/openai.md, run as a reader would, against the gateway with an engine that stands in."""

import asyncio
import json

import pytest

from tests.api.test_batches import Stand
from tests.docs import page
from tests.gateway.conftest import config, folder
from tests.gateway.kit import KEY
from tests.language.fake_engine import running

__all__ = ["config", "folder"]


@pytest.mark.slow
async def test_openai(reader, config, folder, tmp_path, monkeypatch, capsys):
    with running(tmp_path / "e.sock", tokens=8) as engine:
        stand = Stand(config, folder, engine)
        await stand.begin()
        gateway = stand.gateway
        await gateway.start(stand.models, stand.known())
        monkeypatch.setenv("OPENAI_BASE_URL", f"{await gateway.url()}/v1")
        monkeypatch.setenv("OPENAI_API_KEY", KEY)
        monkeypatch.setenv("NO_PROXY", "127.0.0.1")
        said = await asyncio.to_thread(page.run, "docs/guides/openai.md", reader, shown=("text",))
        await stand.end()
        await gateway.stop(0.2)
    assert '"content":"w0 w1 w2 w3 w4 w5 w6 w7"' in said
    assert said.count("data: [DONE]") == 1
    assert "w0 w1 w2 w3 w4 w5 w6 w7\n" in said
    assert "x-argosy-decision: replica=r1; affinity=" in said
    assert "x-argosy-tokens: input=" in said
    assert "FAIL" not in said
    printed = capsys.readouterr().out
    assert printed.startswith("w0 w1 w2 w3 w4 w5 w6 w7 8\nw0 w1 w2 w3 w4 w5 w6 w7\ncompleted 1 ")
    assert json.loads(printed.partition("completed 1 ")[2])["response"]["status_code"] == 200
