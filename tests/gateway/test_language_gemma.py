"""Gemma 3 270M in llama.cpp behind the gateway: what a stand-in cannot show."""

import asyncio
import shutil
import tempfile
from pathlib import Path
from typing import Literal

import msgspec
import openai
import pydantic
import pytest

from argosy.engines.language.process import started
from argosy.spec.language import Language
from argosy_conformance import run
from tests.gateway.kit import KEY, api_key
from tests.gateway.test_language import lines, model
from tests.gateway.test_openai_clients import client
from tests.language.weights import gemma, gemma_adapter

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("gemma")]
pytest.importorskip("xllamacpp")
ASKED = [{"role": "user", "content": "Which colour has grass?"}]


class Server:
    """Where an engine listens."""

    def __init__(self, path):
        self.path = path


@pytest.fixture(scope="module")
def server():
    folder = Path(tempfile.mkdtemp(prefix="agm"))
    adapters = {name: str(gemma_adapter(folder / name, seed)) for seed, name in enumerate(("poet", "clerk"))}
    language = Language(context=2048, slots=2)
    with started("llamacpp", gemma(), language, 1, folder, name="gemma", adapters=adapters) as engine:
        yield engine
    shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture
async def url(gateway, server):
    gemma = model(Server(server.setup.address.path), timeout=300)
    first = msgspec.structs.replace(gemma.revisions[0], adapters={"poet": 0, "clerk": 1})
    await gateway.start([msgspec.structs.replace(gemma, revisions=(first,))], [api_key()])
    return f"{await gateway.url()}/v1"


async def test_each_adapter_answers_for_itself(url, server):
    """Whoever had the slot before: what was computed with one adapter is not used for another, nor for the base."""
    prompt = "One, two, three, four. " * 20 + "The capital of France is"
    async with client(url, timeout=300) as ai:

        async def ask(name):
            made = await ai.completions.create(model=name, prompt=prompt, max_tokens=8, temperature=0)
            return made.choices[0].text

        def alone(lora):
            body = {"prompt": prompt, "max_tokens": 8, "temperature": 0, "cache_prompt": False, "lora": lora}
            return server.ask.send("/v1/completions", body)["choices"][0]["text"]

        adapted = {"gemma": [{"id": 0, "scale": 0}], "gemma+poet": [{"id": 0, "scale": 1}]}
        wanted = {name: alone(lora) for name, lora in adapted.items()}
        assert wanted["gemma"] != wanted["gemma+poet"]
        for name in (*adapted, *adapted, "gemma+clerk", *adapted):
            assert await ask(name) == wanted.get(name, await ask(name)), name


class Colour(pydantic.BaseModel):
    """A structured answer."""

    colour: Literal["red", "green"]


async def test_a_schema_is_kept_and_a_second_turn_is_cached(url, gateway):
    async with client(url, timeout=300) as ai:
        parsed = await ai.chat.completions.parse(
            model="gemma", messages=ASKED, response_format=Colour, max_tokens=80, temperature=0
        )
        assert parsed.choices[0].message.parsed.colour in ("red", "green")
        whole = await ai.chat.completions.create(model="gemma", messages=ASKED, max_tokens=4, temperature=0)
        stream = await ai.chat.completions.create(
            model="gemma", messages=ASKED, max_tokens=4, temperature=0, stream=True
        )
        text = "".join([chunk.choices[0].delta.content or "" async for chunk in stream])
    assert text == whole.choices[0].message.content
    _, one, other = await lines(gateway, 3)
    for name in ("input", "output", "finish"):
        assert one["tokens"][name] == other["tokens"][name], name
    assert (one["tokens"]["input"], one["tokens"]["output"]) == (whole.usage.prompt_tokens, 4)
    assert other["tokens"]["cached"] > 0


async def test_who_leaves_ends_the_generation(url, gateway, server):
    async with client(url, timeout=300) as ai:
        story = [{"role": "user", "content": "Count from one to a thousand, in words."}]
        stream = await ai.chat.completions.create(
            model="gemma", messages=story, stream=True, max_tokens=1500, logit_bias={"1": -100, "106": -100}
        )
        count = 0
        async for _ in stream:
            count += 1
            if count == 4:
                break
        await stream.close()
    async with asyncio.timeout(60):
        while server.load().running:
            await asyncio.sleep(0.05)
    (line,) = await lines(gateway, 1)
    assert 1 <= line["tokens"]["output"] < 1000
    assert "finish" not in line["tokens"]


async def test_the_engine_says_what_is_wrong_and_nothing_is_counted(url, gateway):
    async with client(url, timeout=300, max_retries=0) as ai:
        with pytest.raises(openai.BadRequestError, match="context"):
            await ai.chat.completions.create(model="gemma", messages=[{"role": "user", "content": "word " * 5000}])
    (line,) = await lines(gateway, 1)
    assert (line["status"], line["tokens"].get("input"), line["tokens"].get("output")) == (400, None, None)


async def test_the_suite_passes(url):
    wanted = ["models", "stream", "stream_usage", "stop", "logprobs", "schema", "malformed", "no_messages", "no_key"]
    report = await asyncio.to_thread(
        run, url.removesuffix("/v1"), key=KEY, contract="openai", checks=[f"openai.{each}" for each in wanted]
    )
    assert {each.id: each.note for each in report.results if each.verdict != "passed"} == {}
