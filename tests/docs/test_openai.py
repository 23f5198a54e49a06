"""The blocks of docs/guides/openai.md, run as a reader would, against the gateway with an engine that stands in."""

import asyncio

from tests.docs import page
from tests.gateway.conftest import config, folder, gateway
from tests.gateway.kit import KEY, api_key
from tests.gateway.test_language import model
from tests.language.fake_engine import running

__all__ = ["config", "folder", "gateway"]


async def test_openai(reader, gateway, tmp_path, monkeypatch, capsys):
    with running(tmp_path / "e.sock", tokens=8) as engine:
        await gateway.start([model(engine)], [api_key()])
        monkeypatch.setenv("OPENAI_BASE_URL", f"{await gateway.url()}/v1")
        monkeypatch.setenv("OPENAI_API_KEY", KEY)
        monkeypatch.setenv("NO_PROXY", "127.0.0.1")
        said = await asyncio.to_thread(page.run, "docs/guides/openai.md", reader, shown=("text",))
    assert '"content":"w0 w1 w2 w3 w4 w5 w6 w7"' in said
    assert said.count("data: [DONE]") == 1
    assert "w0 w1 w2 w3 w4 w5 w6 w7\n" in said
    assert "x-argosy-decision: replica=r1; affinity=" in said
    assert "x-argosy-tokens: input=" in said
    assert "FAIL" not in said
    assert capsys.readouterr().out == "w0 w1 w2 w3 w4 w5 w6 w7 8\nw0 w1 w2 w3 w4 w5 w6 w7\n"
