"""The stand-in itself: what other tests rely on."""

import json

import httpx
import pytest

from tests.language.conftest import StartFake
from tests.language.fake_engine import Fake

CHAT = {"model": "fake", "messages": [{"role": "user", "content": "Hello " * 40}]}


def events(text: str) -> list[dict[str, object]]:
    """Of a stream, without the last one, which is no JSON."""
    lines = [line.removeprefix("data: ") for line in text.splitlines() if line]
    assert lines.pop() == "[DONE]"
    return [json.loads(line) for line in lines]


def test_answer_and_cache(fake_engine: Fake) -> None:
    """The second prompt is in the cache but for what is no whole block."""
    first = fake_engine.client.post("/v1/chat/completions", json=CHAT).json()
    assert first["choices"][0]["message"]["content"].split() == [f"w{n}" for n in range(16)]
    usage = fake_engine.client.post("/v1/chat/completions", json=CHAT).json()["usage"]
    assert first["usage"]["prompt_tokens_details"]["cached_tokens"] == 0
    assert usage["prompt_tokens"] - 16 <= usage["prompt_tokens_details"]["cached_tokens"] < usage["prompt_tokens"]


def test_stream_counts(fake_engine: Fake) -> None:
    """Usage once at the end, and counts in each event where asked for."""
    body = CHAT | {
        "stream": True,
        "max_tokens": 3,
        "timings_per_token": True,
        "stream_options": {"include_usage": True},
    }
    told = events(fake_engine.client.post("/v1/chat/completions", json=body).text)
    assert [each["timings"]["predicted_n"] for each in told] == [1, 2, 3, 3, 3]  # type: ignore[index]
    assert told[-1]["choices"] == []
    assert told[-2]["choices"][0]["finish_reason"] == "length"  # type: ignore[index]
    assert fake_engine.told()["output"] == 3


def test_death(start_fake: StartFake) -> None:
    """In the middle of a stream."""
    fake = start_fake(fault="die", after=2)
    with pytest.raises(httpx.TransportError):
        fake.client.post("/v1/completions", json={"prompt": "a", "stream": True})
    assert fake.process.wait() == 13


def test_client_leaves(start_fake: StartFake) -> None:
    """A generation ends with its client, and what was generated is counted."""
    fake = start_fake(each=0.01, tokens=100_000)
    with fake.client.stream("POST", "/v1/chat/completions", json=CHAT | {"stream": True}) as answer:
        assert next(answer.iter_lines()).startswith("data: ")
    while (told := fake.told())["running"]:
        pass
    assert told["aborted"] == 1
    assert 0 < told["output"] < 100_000
