"""Language models in `push`, `models show`, `verify` and `rm`, with a stub in the place of their engine."""

import json
from contextlib import contextmanager

import pytest

from argosy.packaging.language import engine
from tests.language.weights import F32, gguf_bytes, tiny_gguf
from tests.packaging.language.test_golden import Stub


@contextmanager
def running(package, base):
    yield Stub()


@pytest.fixture
def pushed(run, tmp_path, monkeypatch):
    """A tiny model and an adapter of it."""
    monkeypatch.setattr(engine, "running", running)
    monkeypatch.setattr("argosy.packaging.push.engine_of", lambda name: None)
    assert run("push", tiny_gguf(tmp_path / "tiny.gguf"), "--name", "tiny").exit_code == 0
    tensors = {"blk.0.attn_q.weight.lora_a": (64, 4), "blk.0.attn_q.weight.lora_b": (4, 64)}
    keys = {"general.type": "adapter", "general.architecture": "llama"}
    (tmp_path / "poet.gguf").write_bytes(gguf_bytes(keys, tensors, F32))
    done = run("push", tmp_path / "poet.gguf", "--name", "poet", "--base", "tiny:1")
    assert done.exit_code == 0, done.stderr


def test_show_tells_what_a_language_model_needs(run, pushed):
    said = run("models", "show", "tiny:1").stdout
    for words in ("architecture   llama", "quantization   Q4_0", "512 tokens", "loops, conditions and filters only"):
        assert words in said
    assert "128 KiB for the KV cache of 512 tokens at 16 bits" in said
    assert "3 answers of up to 32 tokens" in said
    found = json.loads(run("models", "show", "tiny:1", "--json").stdout)
    assert found["memory"] == {"weights": 3392, "kv": {"512": 131_072}}
    assert found["golden"]["margin"] == 0.02


def test_verify_says_what_was_compared(run, pushed):
    assert "3 answers, 96 tokens in all, agree" in run("models", "verify", "tiny:1").stdout


def test_a_base_stays_while_it_has_an_adapter(run, pushed):
    refused = run("models", "rm", "tiny:1")
    assert (refused.exit_code, "is the base of the adapter poet:1: remove that first" in refused.stderr) == (5, True)
    assert run("models", "rm", "poet:1", "tiny:1").exit_code == 0
