"""Gemma by llama.cpp, as a child in its sandbox."""

from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from argosy.engines.language.process import EngineServer, started
from argosy.spec.errors import BadPackage, InvalidArgument, Unsupported
from argosy.spec.language import Language
from tests.language.weights import gemma

PROMPT = "The capital of France is"


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EngineServer]:
    """One with two slots, one thread, and guesses of n-grams."""
    folder = tmp_path_factory.mktemp("llama")
    language = Language(context=512, slots=2, draft="ngram", kv_type="q8_0")
    with started("llamacpp", gemma(), language, 1, folder) as found:
        yield found


@pytest.mark.slow
def test_greedy_answers_repeat(server: EngineServer) -> None:
    """With the logarithms of their probabilities."""
    first = server.ask.complete(PROMPT, most=6, logprobs=True)
    assert first == server.ask.complete(PROMPT, most=6, logprobs=True)
    assert (first.output, first.finish, len(first.logprobs)) == (6, "length", 6)
    assert "".join(first.tokens) == first.text


@pytest.mark.slow
def test_logprobs_of_a_text(server: EngineServer) -> None:
    """Those of a greedy continuation are the ones that it was generated with."""
    answer = server.ask.complete(PROMPT, most=4, logprobs=True)
    told = server.ask.logprobs(PROMPT + answer.text)
    assert told[-4:] == pytest.approx(list(answer.logprobs), abs=0.05)  # a KV cache of 8 bits, batched differently


@pytest.mark.slow
def test_load_and_chat(server: EngineServer) -> None:
    """What it counts grows with what it does."""
    before = server.load()
    answer = server.ask.chat([{"role": "user", "content": "Hello"}], most=3)
    after = server.load()
    assert after.output - before.output == answer.output == 3
    assert after.input - before.input == answer.input
    assert after.steps > before.steps
    assert after.busy == 0


@pytest.mark.slow
def test_prompt_longer_than_the_context(server: EngineServer) -> None:
    """The engine says so in OpenAI's shape."""
    with pytest.raises(InvalidArgument, match=r"400: .*exceed"):
        server.ask.complete("word " * 2000, most=1)


@pytest.mark.slow
def test_sandbox(server: EngineServer) -> None:
    """A socket for its user alone, and no file of ours to be read through it."""
    assert Path(server.setup.address.path).stat().st_mode & 0o077 == 0
    transport = httpx.HTTPTransport(uds=server.setup.address.path)
    with httpx.Client(transport=transport, base_url="http://e") as client:
        assert client.get("/../../etc/passwd").status_code == 404


def test_damaged_weights(tmp_path: Path) -> None:
    """The reason is the engine's."""
    weights = tmp_path / "w.gguf"
    weights.write_bytes(b"GGUF" + b"\xff" * 64)
    with (
        pytest.raises(BadPackage, match=r"llama.cpp cannot load w.gguf"),
        started("llamacpp", weights, Language(context=64), 1, tmp_path),
    ):
        pass


def test_settings_are_checked_first(tmp_path: Path) -> None:
    """Nothing is started."""
    with pytest.raises(Unsupported), started("llamacpp", tmp_path, Language(tensor_parallel=2), 1, tmp_path):
        pass
    assert list(tmp_path.iterdir()) == []
