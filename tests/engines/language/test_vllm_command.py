"""The exact command that starts vLLM; what runs it for real is `test_vllm.py`."""

import sys
from pathlib import Path

import msgspec
import pytest

from argosy.engines.language import vllm
from argosy.engines.language.base import Setup
from argosy.engines.language.llamacpp import LlamaCpp
from argosy.engines.language.vllm import Vllm
from argosy.process.sandbox import Policy
from argosy.spec.address import Address
from argosy.spec.errors import Unsupported
from argosy.spec.language import Language

SETUP = Setup(name="m", weights="/w", address=Address(path="/run/e.sock"), threads=3, language=Language(context=2048))


def test_on_a_cpu(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without a GPU nothing is compiled."""
    monkeypatch.setattr(vllm, "gpus", lambda: ())
    monkeypatch.delenv(vllm.PYTHON, raising=False)
    command, more = Vllm().command(SETUP)
    start = f"{sys.executable} -m vllm.entrypoints.openai.api_server --model /w --served-model-name m --uds /run/e.sock"
    assert " ".join(command) == (
        f"{start} --max-num-seqs 4 --max-num-batched-tokens 2048 --max-model-len 2048 --enable-prompt-tokens-details "
        "--disable-uvicorn-access-log --enforce-eager --dtype bfloat16"
    )
    assert more == {
        "HF_HUB_OFFLINE": "1",
        "VLLM_NO_USAGE_STATS": "1",
        "OMP_NUM_THREADS": "3",
        "VLLM_CPU_KVCACHE_SPACE": "1",
    }


def test_sleep(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its server has the paths for it only in what it calls development mode."""
    monkeypatch.setattr(vllm, "gpus", lambda: ("/dev/nvidia0",))
    setup = msgspec.structs.replace(SETUP, language=Language(at_zero="asleep"))
    command, more = Vllm().command(setup)
    assert ("--enable-sleep-mode" in command, more["VLLM_SERVER_DEV_MODE"]) == (True, "1")
    command, more = Vllm().command(msgspec.structs.replace(setup, language=Language(at_zero="prefetched")))
    assert ("--enable-sleep-mode" in command, "VLLM_SERVER_DEV_MODE" in more) == (False, False)
    Vllm().check(setup.language)
    with pytest.raises(Unsupported, match="and llamacpp cannot sleep: declare 'prefetched'"):
        LlamaCpp().check(setup.language)


def test_all_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    """On GPUs, at a port, with guesses ahead and adapters, by another interpreter."""
    monkeypatch.setattr(vllm, "gpus", lambda: ("/dev/nvidia0",))
    monkeypatch.setenv(vllm.PYTHON, "/v/bin/python")
    language = Language(slots=64, tensor_parallel=4, batch_tokens=8192, draft="ngram")
    setup = Setup(
        name="m", weights="/w", address=Address(host="127.0.0.1", port=9000), language=language, adapters={"a": "/a"}
    )
    command, more = Vllm().command(setup)
    assert command[:9] == [
        "/v/bin/python",
        "-m",
        vllm.MODULE,
        "--model",
        "/w",
        "--served-model-name",
        "m",
        "--host",
        "127.0.0.1",
    ]
    assert command[9:] == [
        *("--port", "9000", "--max-num-seqs", "64", "--max-num-batched-tokens", "8192", "--tensor-parallel-size", "4"),
        *("--speculative-config", '{"num_speculative_tokens": 4, "method": "ngram", "prompt_lookup_max": 4}'),
        *("--enable-lora", "--max-lora-rank", "64", "--lora-modules", "a=/a"),
        *("--enable-prompt-tokens-details", "--disable-uvicorn-access-log"),
    ]
    assert "VLLM_CPU_KVCACHE_SPACE" not in more


def test_child_enters_its_sandbox(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """And becomes the other interpreter."""
    monkeypatch.setenv(vllm.PYTHON, "/v/bin/python")
    child = Vllm().child(SETUP, tmp_path, Policy())
    assert child.command[:6] == [sys.executable, "-P", "-m", "argosy.process.enter", "/v/bin/python", "-m"]
