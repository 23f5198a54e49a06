"""What stands between clients and the engine of a language model: Argosy's gateway, and peers where they are installed.

All are asked for the model `gemma` at /v1/chat/completions with the key `KEY`. None is installed by a run: `python -m
bench.envs NAME` does that. A program that no registry has is named by a variable, whose words are its command: in
`BENCH_BIFROST="bifrost-http -app-dir {folder} -port {port}"` are filled in `{engine}` and `{port}`, the loopback ports
of the engine and its own, and `{folder}`, an empty one.
"""

import json
import os
import shlex
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import msgspec

from argosy.engines.language.base import Setup
from argosy.engines.language.llamacpp import MAIN
from argosy.engines.language.vllm import Vllm
from argosy.process.cores import gpus
from argosy.spec.address import Address
from argosy.spec.language import Language
from bench import envs
from bench.servers import Command, Ports, Running, Server, Unavailable, running

KEY, MODEL, PATH = "sk-bench-0123456789", "gemma", "/v1/chat/completions"
BOTH = (0, 1)
PATIENCE = 600.0
"""Seconds: LiteLLM takes 10 of a machine that has nothing else to do."""
LANGUAGE = Language(context=1024, slots=8)
WEIGHTS = "BENCH_LLM_WEIGHTS"
"""The variable that names a folder of safetensors, or a GGUF file, instead of Gemma 3 270M."""
HEADERS = {"Content-Type": "application/json", "Authorization": f"Bearer {KEY}"}
PROBE = json.dumps({"model": MODEL, "messages": [{"role": "user", "content": "Hi"}], "max_tokens": 1}).encode()


@dataclass(frozen=True)
class Front:
    """One of them; `command` is given the engine's port, its own ports, and a folder to write to."""

    name: str
    command: Callable[[int, Ports, Path], Command]
    environment: str | None = None
    package: str | None = None


def program(environment: str, name: str) -> str:
    """A program of an environment that is there. Raises Unavailable."""
    folder = envs.installed(environment)
    if folder is None:
        raise Unavailable(f"it is not installed: python -m bench.envs {environment}")
    return str(folder / "bin" / name)


def _argosy(engine: int, ports: Ports, folder: Path) -> Command:
    argv = [sys.executable, "-m", "bench.peers.argosy_gateway", str(engine), str(ports.http), KEY, str(folder)]
    return Command(argv)


def _litellm(engine: int, ports: Ports, folder: Path) -> Command:
    params = {"model": f"openai/{MODEL}", "api_base": f"http://127.0.0.1:{engine}/v1", "api_key": "none"}
    told = {"model_list": [{"model_name": MODEL, "litellm_params": params}], "general_settings": {"master_key": KEY}}
    config = folder / "config.json"  # which is YAML as well
    config.write_text(json.dumps(told | {"litellm_settings": {"telemetry": False, "num_retries": 0}}))
    where = ["--config", str(config), "--host", "127.0.0.1", "--port", str(ports.http), "--num_workers", "2"]
    where += ["--timeout_worker_healthcheck", "600"]  # on a busy machine, workers that load are killed else
    more = {"LITELLM_LOG": "ERROR", "LITELLM_LOCAL_MODEL_COST_MAP": "True", "LITELLM_MODE": "PRODUCTION"}
    return Command([program("litellm", "litellm"), *where], more)


def _smg(engine: int, ports: Ports, folder: Path) -> Command:
    where = ["--host", "127.0.0.1", "--port", str(ports.http), "--worker-urls", f"http://127.0.0.1:{engine}"]
    limit = ["--max-concurrent-requests", "100000", "--rate-limit-tokens-per-second", "1000000"]
    told = ["--tenant-api-key", f"bench:{KEY}", "--prometheus-port", str(ports.metrics), "--log-level", "warn"]
    return Command([program("smg", "smg"), "launch", *where, "--policy", "round_robin", *limit, *told])


def _named(variable: str, why: str) -> Callable[[int, Ports, Path], Command]:
    def command(engine: int, ports: Ports, folder: Path) -> Command:
        if variable not in os.environ:
            raise Unavailable(f"{why}; {variable} may name its command")
        words = shlex.split(os.environ[variable])
        return Command([each.format(engine=engine, port=ports.http, folder=folder) for each in words])

    return command


def _llama_cpp_python(engine: int, ports: Ports, folder: Path) -> Command:
    where = ["--model", str(weights()), "--model_alias", MODEL, "--host", "127.0.0.1", "--port", str(ports.http)]
    settings = ["--n_ctx", str(LANGUAGE.context), "--n_threads", "1", "--n_threads_batch", "1", "--verbose", "False"]
    return Command([program("llamacpppython", "python"), "-m", "llama_cpp.server", *where, *settings, "--api_key", KEY])


ARGOSY = Front("argosy", _argosy)
FRONTS = [
    ARGOSY,
    Front("litellm", _litellm, "litellm", "litellm"),
    Front("smg", _smg, "smg", "smg"),
    Front("bifrost", _named("BENCH_BIFROST", "its npm package loads its program from elsewhere")),
    Front("agentgateway", _named("BENCH_AGENTGATEWAY", "neither npm, nor crates, nor Go modules have it")),
]
LLAMA_CPP_PYTHON = Front("llama-cpp-python", _llama_cpp_python, "llamacpppython", "llama-cpp-python")
"""No gateway: the same engine in a server of its own, a request at a time."""


@contextmanager
def started(front: Front, engine: int) -> Iterator[Running]:
    """One that answers; gone when the block ends. Raises Unavailable."""
    with tempfile.TemporaryDirectory(prefix="bf") as folder:
        server = Server(front.name, lambda _, ports: front.command(engine, ports, Path(folder)))
        with running(server, Path(folder), PROBE, HEADERS, BOTH, PATH, PATIENCE) as found:
            yield found


def weights() -> Path:
    """What the engine serves."""
    if named := os.environ.get(WEIGHTS):
        return Path(named)
    from tests.language.weights import gemma

    return gemma()


def _engine(_: Path, ports: Ports) -> Command:
    address = Address(host="127.0.0.1", port=ports.http)
    return engine_command(Setup(name=MODEL, weights=str(weights()), address=address, language=LANGUAGE))


def engine_command(setup: Setup) -> Command:
    """llama.cpp for a file, vLLM for a folder."""
    if Path(setup.weights).suffix == ".gguf":
        return Command([sys.executable, "-m", MAIN, msgspec.json.encode(setup).decode()])
    return Command(*Vllm().command(setup))


ENGINE = Server("engine", _engine)
"""Its own server, which is asked without a gateway."""


def dry_run() -> str:
    """How to run the case on a GPU, and what that starts; empty where there is one."""
    if gpus():
        return ""
    setup = Setup(name=MODEL, weights="FOLDER", address=Address(host="127.0.0.1", port=8000), language=LANGUAGE)
    command = engine_command(setup)
    argv = [word for word in command.argv if word not in ("--enforce-eager", "--dtype", "bfloat16")]
    started_ = shlex.join(["python", *argv[1:]])
    return f"with a GPU: `{WEIGHTS}=FOLDER python -m bench --case llm`, which starts `{started_}`"
