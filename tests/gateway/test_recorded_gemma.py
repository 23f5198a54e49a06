"""What a real engine says, as the recorder is told of it."""

import json
from typing import Any

import pytest

from argosy.gateway.gateway import Gateway
from argosy.monitoring.recorder import intake
from tests.gateway.test_language import model
from tests.gateway.test_language_gemma import ASKED, Server, server
from tests.gateway.test_openai_clients import client
from tests.gateway.test_recorded_prompts import ALL, Told, config, told

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("gemma")]
pytest.importorskip("xllamacpp")
__all__ = ["config", "server", "told"]
TOOL = {"name": "paint", "parameters": {"type": "object", "properties": {"colour": {"type": "string"}}}}


async def test_texts_are_those_that_the_client_got(gateway: Gateway, told: Told, server: Any):
    await gateway.start([model(Server(server.setup.address.path), timeout=300, auth=False, payload=ALL)])
    async with client(f"{await gateway.url()}/v1", timeout=300) as ai:
        asked: dict[str, Any] = {"model": "gemma", "messages": ASKED, "max_tokens": 12, "temperature": 0}
        whole = await ai.chat.completions.create(**asked)
        chunks = [each async for each in await ai.chat.completions.create(**asked, stream=True)]
        plain = await ai.completions.create(model="gemma", prompt='Say "yes"\n', max_tokens=6, temperature=0)
        tools = [{"type": "function", "function": TOOL}]
        called = await ai.chat.completions.create(**asked, tools=tools, tool_choice="required")
    streamed = "".join(each.choices[0].delta.content or "" for each in chunks if each.choices)
    ((*_, rows),) = intake.rows(await told.until(4), {"gemma": ALL})
    texts = [text.decode() for text in rows.outputs["text"]]
    assert texts[:3] == [whole.choices[0].message.content, streamed, plain.choices[0].text]
    assert [each.decode() for each in rows.outputs["id"][:3]] == [whole.id, chunks[0].id, plain.id]
    assert whole.usage is not None
    assert rows.inputs["tokens"][0] == whole.usage.prompt_tokens
    assert rows.outputs["tokens"].tolist()[:3] == [12, 12, 6]
    assert json.loads(rows.inputs["prompt"][0]) == ASKED
    assert rows.inputs["prompt"][2] == b'Say "yes"\n'
    assert not rows.outputs["cut"].any()
    if called.choices[0].message.tool_calls:
        assert "paint" in texts[3]
