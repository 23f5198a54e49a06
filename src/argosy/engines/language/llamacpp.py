"""llama.cpp by the package `xllamacpp`: weights in GGUF, on CPU or GPU.

`python -m argosy.engines.language.llamacpp SETUP` becomes its server, which is threads of C++: Python has nothing to do
until SIGTERM ends it. Whoever sends that has waited for the answers that were being generated.
"""

import os
import signal
import sys
from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import Any, cast

import msgspec

from argosy.engines.language.base import KEPT, LanguageEngine, Load, Setup
from argosy.process import launch, sandbox
from argosy.process.launch import Child
from argosy.process.sandbox import Policy

MAIN = "argosy.engines.language.llamacpp"
VERBOSITY = 1
"""Errors and warnings."""
_KV = {"f16": "GGML_TYPE_F16", "q8_0": "GGML_TYPE_Q8_0", "q4_0": "GGML_TYPE_Q4_0"}
PROMPTS_MIB = 256
"""Memory for prompts of earlier requests whose slots others have taken."""


class LlamaCpp(LanguageEngine):
    """Its server in a child of ours, which sets it by `CommonParams` and has no part in its answers."""

    name, extra = "llamacpp", "llamacpp"
    settings = tuple(name for name in KEPT if name != "tensor_parallel")
    numbers = True
    kv_types = ("f16", "q8_0", "q4_0")

    def installed(self) -> bool:
        return find_spec("xllamacpp") is not None

    def command(self, setup: Setup) -> tuple[list[str], dict[str, str]]:
        return [*launch.python(MAIN), msgspec.json.encode(setup).decode()], setup.variables

    def child(self, setup: Setup, folder: Path, policy: Policy) -> Child:
        arguments, more = self.command(setup)
        return launch.model(MAIN, arguments[-1], folder=folder, policy=policy, more=more)

    def load(self, metrics: Mapping[str, float]) -> Load:
        """See `LanguageEngine`. It does not tell how full its cache is."""

        def count(name: str) -> int:
            return int(metrics.get(f"llamacpp:{name}", 0))

        cached = count("prompt_tokens_cached_total")
        return Load(
            running=count("requests_processing"),
            waiting=count("requests_deferred"),
            input=count("prompt_tokens_total") + cached,
            cached=cached,
            output=count("tokens_predicted_total"),
            decoded=count("n_decode_total"),
            steps=count("n_decode_total") + count("prompt_tokens_total") + count("tokens_predicted_total"),
        )


def params(setup: Setup) -> Any:
    """The settings as llama.cpp has them. Its context is that of all slots together."""
    import xllamacpp

    llama: Any = xllamacpp
    found, language = llama.CommonParams(), setup.language
    found.model.path = setup.weights
    found.model_alias = {setup.name}
    found.hostnames = [setup.address.path or setup.address.host]
    found.port = setup.address.port
    found.n_parallel = language.slots
    found.n_ctx = language.context * language.slots
    found.n_batch = language.batch_tokens
    found.n_ubatch = min(found.n_ubatch, language.batch_tokens)
    found.n_gpu_layers = language.gpu_layers
    found.cache_type_k = found.cache_type_v = getattr(llama.ggml_type, _KV[language.kv_type])
    # It does not tell prompts apart by the adapters that they were computed with.
    found.cache_ram_mib = 0 if setup.adapters else PROMPTS_MIB
    found.cpuparams.n_threads = found.cpuparams_batch.n_threads = setup.threads
    found.endpoint_metrics = found.endpoint_slots = True
    found.ui = False
    found.cors_origins, found.cors_origins_explicit = "", True  # else every web page may ask it
    found.offline = True
    found.verbosity = VERBOSITY
    found.lora_init_without_apply = True
    found.lora_adapters = [llama.CommonAdapterLoraInfo(path, 0.0) for path in setup.adapters.values()]
    types = llama.common_speculative_type
    if language.draft == "ngram":
        found.speculative.types = [types.COMMON_SPECULATIVE_TYPE_NGRAM_SIMPLE]
    elif setup.draft:
        found.speculative.types = [types.COMMON_SPECULATIVE_TYPE_DRAFT_SIMPLE]
        found.speculative.draft.mparams.path = setup.draft
    return found


def main(arguments: list[str]) -> int:
    """Load the model, listen, and wait. What is wrong with the weights llama.cpp has written before the last line."""
    signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGTERM])
    setup = msgspec.json.decode(arguments[0], type=Setup)
    try:
        import xllamacpp

        server: object = cast("Any", xllamacpp).Server(params(setup))
    except Exception as error:
        print(f"error: llama.cpp cannot load {os.path.basename(setup.weights)}: {error}", file=sys.stderr, flush=True)
        return 1
    if setup.address.path:
        os.chmod(setup.address.path, 0o600)
    sandbox.seal()
    signal.sigwait([signal.SIGTERM])
    os._exit(0 if server else 1)  # its threads end with the process: nothing of it has to be written


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
