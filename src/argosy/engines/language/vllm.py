"""vLLM: weights in safetensors, mostly on GPUs. A program of its own, perhaps in an environment of its own."""

import json
import os
import sys
from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path

from argosy.engines.language.base import KEPT, LanguageEngine, Load, Setup
from argosy.process import launch
from argosy.process.cores import gpus
from argosy.process.launch import Child
from argosy.process.sandbox import Policy

PYTHON = "ARGOSY_VLLM_PYTHON"
"""The variable that names the interpreter that has vLLM, where ours has not."""
MODULE = "vllm.entrypoints.openai.api_server"
DRAFTED = 4
"""Tokens that are guessed ahead."""
MOST_RANK = 64
"""Of an adapter: it has to be said before any is loaded."""
MACHINE = ("/proc", "/sys")
"""Where it reads which cores and memory its processes have."""


class Vllm(LanguageEngine):
    """Its server for OpenAI's API."""

    name, extra = "vllm", "vllm"
    settings = tuple(name for name in KEPT if name not in ("kv_type", "gpu_layers"))
    sleeps = ("/sleep?level=1", "/wake_up")
    own_user = False  # another program has no right left to read packages in the home of a user

    def installed(self) -> bool:
        return bool(os.environ.get(PYTHON)) or find_spec("vllm") is not None

    def command(self, setup: Setup) -> tuple[list[str], dict[str, str]]:
        language, at = setup.language, setup.address
        more = {"HF_HUB_OFFLINE": "1", "VLLM_NO_USAGE_STATS": "1", "OMP_NUM_THREADS": str(setup.threads)}
        command = [os.environ.get(PYTHON) or sys.executable, "-m", MODULE]
        command += ["--model", setup.weights, "--served-model-name", setup.name]
        command += ["--uds", at.path] if at.path else ["--host", at.host, "--port", str(at.port)]
        command += ["--max-num-seqs", str(language.slots), "--max-num-batched-tokens", str(language.batch_tokens)]
        if language.context:
            command += ["--max-model-len", str(language.context)]
        if language.tensor_parallel > 1:
            command += ["--tensor-parallel-size", str(language.tensor_parallel)]
        if language.draft:
            draft: dict[str, object] = {"num_speculative_tokens": DRAFTED}
            draft |= {"model": setup.draft} if setup.draft else {"method": "ngram", "prompt_lookup_max": DRAFTED}
            command += ["--speculative-config", json.dumps(draft)]
        if language.at_zero == "asleep":
            command += ["--enable-sleep-mode"]
            more["VLLM_SERVER_DEV_MODE"] = (
                "1"  # its server has the paths for it then; the gateway leads to none of them
            )
        if setup.adapters:
            command += ["--enable-lora", "--max-lora-rank", str(MOST_RANK), "--lora-modules"]
            command += [f"{name}={path}" for name, path in setup.adapters.items()]
            more["VLLM_ALLOW_RUNTIME_LORA_UPDATING"] = "1"  # the gateway leads to none of the paths for it
        command += ["--enable-prompt-tokens-details", "--disable-uvicorn-access-log"]
        if not gpus():
            command += ["--enforce-eager", "--dtype", "bfloat16"]
            more["VLLM_CPU_KVCACHE_SPACE"] = "1"
        return command, more | setup.variables

    def child(self, setup: Setup, folder: Path, policy: Policy) -> Child:
        """See `LanguageEngine`. Its processes talk to each other by sockets, and it compiles: it may start others and
        use the network."""
        command, more = self.command(setup)
        python = Path(command[0])
        homes = (str(python.parents[1]), str(python.resolve().parents[1]))
        reads, writes = (*policy.reads, *homes, *MACHINE), (*policy.writes, "/dev/shm")
        policy = policy._replace(network=True, subprocesses=True, reads=reads, writes=writes)
        return launch.model(command[0], *command[1:], folder=folder, policy=policy, more=more)

    def load(self, metrics: Mapping[str, float]) -> Load:
        def count(*names: str) -> float:
            return next((metrics[each] for name in names if (each := f"vllm:{name}") in metrics), 0.0)

        prompt, output = int(count("prompt_tokens_total")), int(count("generation_tokens_total"))
        return Load(
            running=int(count("num_requests_running")),
            waiting=int(count("num_requests_waiting")),
            kv_used=count("kv_cache_usage_perc", "gpu_cache_usage_perc"),
            input=prompt,
            cached=int(count("prompt_tokens_cached_total", "prefix_cache_hits_total")),
            output=output,
            decoded=int(count("iteration_tokens_total_count")),
            steps=prompt + output,
        )
