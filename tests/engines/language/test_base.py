"""Settings, memory and metrics of language engines."""

import pytest

from argosy.engines.language.base import GIB, OWN, Load, fitted, samples
from argosy.engines.language.llamacpp import LlamaCpp
from argosy.engines.language.process import engine_of
from argosy.engines.language.vllm import Vllm
from argosy.spec.errors import InvalidArgument, MissingExtra, Unsupported
from argosy.spec.language import Language, LanguageModel

MODEL = LanguageModel(
    kind="generator", architecture="llama", weights=4 * GIB, context=32768, kv_bytes=128 * 1024, quantization="Q4_K_M"
)


def test_metrics_of_llamacpp() -> None:
    """The tokens of prompts are those that were computed and those of the cache."""
    text = (
        "# HELP llamacpp:prompt_tokens_total x\nllamacpp:prompt_tokens_total 6\n"
        "llamacpp:prompt_tokens_cached_total 4\nllamacpp:tokens_predicted_total 8\nllamacpp:n_decode_total 9\n"
        "llamacpp:requests_processing 2\nllamacpp:requests_deferred 1\nllamacpp:predicted_tokens_seconds nan\n"
    )
    load = LlamaCpp().load(samples(text))
    assert load == Load(running=2, waiting=1, input=10, cached=4, output=8, decoded=9, steps=23)
    assert load.busy == 3


def test_metrics_of_vllm() -> None:
    """Its samples have labels, and older versions other names."""
    text = (
        'vllm:num_requests_running{model_name="m"} 3.0\nvllm:num_requests_waiting{engine="0",model_name="m"} 1.0\n'
        'vllm:gpu_cache_usage_perc{model_name="m"} 0.25\nvllm:prompt_tokens_total{model_name="m"} 10.0\n'
        'vllm:generation_tokens_total{model_name="m"} 5.0\nvllm:prefix_cache_hits_total{model_name="m"} 4.0\n'
    )
    assert Vllm().load(samples(text)) == Load(
        running=3, waiting=1, kv_used=0.25, input=10, cached=4, output=5, steps=15
    )


def test_trained_context_where_it_fits() -> None:
    """Four slots of 32,768 tokens are 16 GiB."""
    assert fitted(Language(), MODEL, 21 * GIB, "this machine").context == 32768


def test_context_by_memory() -> None:
    """Where they do not fit, as much as does."""
    context = fitted(Language(), MODEL, 8 * GIB, "this machine").context
    assert context == (4 * GIB - OWN) // (4 * 128 * 1024)


def test_too_little_memory() -> None:
    """Refused with the arithmetic."""
    with pytest.raises(
        InvalidArgument, match=r"does not fit into resources.memory, 6.00 GiB: weights of 4.00 GiB, a KV"
    ):
        fitted(Language(context=16384), MODEL, 6 * GIB, "resources.memory")
    assert fitted(Language(context=16384, kv_type="q4_0"), MODEL, 7 * GIB, "x").context == 16384


def test_no_room_for_weights() -> None:
    """Even without a declared context."""
    with pytest.raises(InvalidArgument, match=r"does not fit into this machine, 4\.00 GiB"):
        fitted(Language(), MODEL, 4 * GIB, "this machine")


@pytest.mark.parametrize(
    ("engine", "language", "said"),
    [
        ("llamacpp", Language(tensor_parallel=2), "language.tensor_parallel is 2, which llamacpp does not have"),
        ("vllm", Language(gpu_layers=10), "language.gpu_layers is 10"),
        ("vllm", Language(kv_type="q8_0"), "language.kv_type is 'q8_0'"),
    ],
)
def test_unsupported(engine: str, language: Language, said: str) -> None:
    """A setting that the engine lacks is named."""
    with pytest.raises(Unsupported, match=said):
        {"llamacpp": LlamaCpp(), "vllm": Vllm()}[engine].check(language)


def test_unknown_engine() -> None:
    """Those that there are, are named."""
    with pytest.raises(Unsupported, match="there are llamacpp, vllm"):
        engine_of("sglang")


def test_missing_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    """The command that brings it is told."""
    monkeypatch.setattr(LlamaCpp, "installed", lambda self: False)
    with pytest.raises(MissingExtra, match=r"install.*llamacpp"):
        engine_of("llamacpp")
