"""The unmodified `openai` client and the conformance suite against the gateway."""

import asyncio
import json
import subprocess
import sys
from pathlib import Path

import httpx
import openai
import pydantic
import pytest

from argosy_conformance import run
from tests.gateway.kit import KEY, api_key
from tests.gateway.test_language import MESSAGES, engine, lines, model
from tests.language.fake_engine import running
from tests.ports import free

__all__ = ["engine"]


@pytest.fixture
async def url(gateway, engine):
    """OPENAI_BASE_URL of a gateway with one model."""
    await gateway.start([model(engine)], [api_key(), api_key("slow", id="slow", requests_per_second=0.001, burst=1)])
    return f"{await gateway.url()}/v1"


def client(url, key=KEY, **options):
    http = openai.DefaultAsyncHttpxClient(trust_env=False)
    return openai.AsyncOpenAI(base_url=url, api_key=key, http_client=http, **options)


async def test_an_asynchronous_client_chats_and_streams(url, gateway):
    async with client(url) as ai:
        listed = [each.id async for each in ai.models.list()]
        assert listed == ["gemma"]
        answer = await ai.chat.completions.create(model="gemma", messages=MESSAGES, max_tokens=3, logprobs=True)
        assert (answer.choices[0].message.content, answer.choices[0].finish_reason) == ("w0 w1 w2", "length")
        assert answer.choices[0].logprobs.content[0].logprob == -1.0
        options = {"include_usage": True}
        stream = await ai.chat.completions.create(
            model="gemma", messages=MESSAGES, max_tokens=3, stream=True, stream_options=options
        )
        chunks = [each async for each in stream]
        assert "".join(each.choices[0].delta.content or "" for each in chunks if each.choices) == "w0 w1 w2"
        assert [each.usage.completion_tokens for each in chunks if each.usage] == [3]
        async with ai.chat.completions.stream(model="gemma", messages=MESSAGES) as helper:
            seen = [event.type async for event in helper]
            final = await helper.get_final_completion()
        assert "content.delta" in seen
        assert final.choices[0].message.content.startswith("w0 w1 w2")
        completed = await ai.completions.create(model="gemma", prompt="Hello", max_tokens=2)
        assert completed.choices[0].text == "w0 w1"
        vectors = await ai.embeddings.create(model="gemma", input=["a", "b"])
        assert len(vectors.data) == 2
        responded = await ai.responses.create(model="gemma", input="Hello")
        assert responded.output_text.startswith("w0 w1")
    found = await lines(gateway, 7)
    assert [each["tokens"].get("output") for each in found[1:5]] == [3, 3, 16, 2]


async def test_a_synchronous_client_chats_and_streams(url):
    def talk():
        with openai.OpenAI(base_url=url, api_key=KEY, http_client=httpx.Client(trust_env=False)) as ai:
            answer = ai.chat.completions.create(model="gemma", messages=MESSAGES, max_tokens=2)
            stream = ai.chat.completions.create(model="gemma", messages=MESSAGES, max_tokens=2, stream=True)
            text = "".join(each.choices[0].delta.content or "" for each in stream)
            return answer.choices[0].message.content, text

    assert await asyncio.to_thread(talk) == ("w0 w1", "w0 w1")


async def test_each_failure_is_the_clients_own_exception(url):
    async with client(url, "nobody") as ai:
        with pytest.raises(openai.AuthenticationError) as refused:
            await ai.models.retrieve("gemma")
        assert refused.value.code == "invalid_api_key"
    async with client(url, max_retries=0) as ai:
        with pytest.raises(openai.NotFoundError) as missing:
            await ai.chat.completions.create(model="nobody", messages=MESSAGES)
        assert missing.value.code == "model_not_found"
        with pytest.raises(openai.InternalServerError):
            await ai.chat.completions.create(model="gemma", messages=MESSAGES, extra_body={"fake": {"fault": "error"}})
        long = [{"role": "user", "content": "x" * 100}]
        with pytest.raises(openai.BadRequestError, match="exceeds the available context size"):
            await ai.chat.completions.create(model="gemma", messages=long, extra_body={"fake": {"context": 10}})
    async with client(url, "slow", max_retries=0) as ai:
        await ai.completions.create(model="gemma", prompt="Hello")
        with pytest.raises(openai.RateLimitError):
            await ai.completions.create(model="gemma", prompt="Hello")


class Colour(pydantic.BaseModel):
    """What a structured answer is parsed into."""

    colour: str


async def test_a_schema_reaches_the_engine(url, engine):
    async with client(url) as ai:
        # The fake engine keeps to no schema, which the helper notices.
        with pytest.raises(pydantic.ValidationError):
            await ai.chat.completions.parse(model="gemma", messages=MESSAGES, response_format=Colour)
    sent = engine.told()["seen"][-1]["body"]["response_format"]
    assert sent["json_schema"]["schema"]["required"] == ["colour"]


async def test_the_suite_passes_through_the_gateway_where_the_engine_does(gateway, url):
    """And it finds what this engine cannot do."""
    with running(port=free()) as direct:
        own = await asyncio.to_thread(run, direct.url, contract="openai")
    through = await asyncio.to_thread(run, url.removesuffix("/v1"), key=KEY, contract="openai")
    cannot = {"openai.stop", "openai.n", "openai.schema", "openai.no_messages"}
    assert {each.id for each in own.of("failed")} == {*cannot, "openai.model"}
    assert {each.id for each in through.of("failed")} == cannot
    assert {each.id for each in through.of("skipped")} == {"openai.tools"}
    assert through["openai.no_model"].grade == through["openai.no_key"].grade == "strict"


@pytest.mark.slow
async def test_langchain_and_litellm(url):
    python = Path(sys.prefix).with_name(f"{Path(sys.prefix).name}-openai-clients") / "bin" / "python"
    if not python.exists():
        pytest.skip(f"there is no environment with langchain-openai and litellm at {python.parent.parent}: make sdks")
    script = [python, Path(__file__).parent / "clients" / "langchain_litellm.py", url, KEY]
    done = await asyncio.to_thread(subprocess.run, script, check=False, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    text = "w0 w1 w2"
    assert json.loads(done.stdout.splitlines()[-1]) == {
        **{f"langchain{what}": text for what in ("", " stream", " tools")},
        "langchain usage": 3,
        "langchain vectors": 2,
        "litellm": text,
        "litellm stream": text,
        "litellm usage": 3,
        "litellm key": "AuthenticationError",
        "litellm model": "NotFoundError",
    }
