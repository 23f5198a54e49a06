"""The engine of a package as a child of this process, for golden examples: when it is pushed, and to verify it."""

import platform
import re
import tempfile
from collections.abc import Callable, Generator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from argosy.engines.language.ask import Ask
from argosy.engines.language.process import EngineServer, started
from argosy.packaging.language import golden
from argosy.packaging.package import Package
from argosy.process.cores import cores
from argosy.spec.language import Language

CONTEXT = 2048
"""Tokens of golden examples, at most."""
SMALL = 1024**3
"""Bytes of weights below which one thread is used: several wait for each other, actively, where cores are taken."""
_DISTRIBUTIONS = {"llamacpp": "xllamacpp", "vllm": "vllm"}
_KERNELS = ("avx2", "avx512f", "avx512_vnni", "avx512_bf16", "avx_vnni", "amx_int8", "asimddp", "i8mm", "sve")
"""Instructions for which engines have kernels of their own, which add up in another order."""

Running = Callable[[Package, Package | None], AbstractContextManager[Ask]]
"""Starts the engine of a package, for an adapter with its base, and ends it with the `with`."""


def identity(engine: str, kv_type: str = "f16") -> str:
    """Engine, version, processor and datatype of the KV cache here: where all agree, the same tokens are chosen."""
    try:
        number = version(_DISTRIBUTIONS[engine])
    except (PackageNotFoundError, KeyError):
        number = golden.UNKNOWN
    cache = "" if kv_type == "f16" else f", KV cache of {kv_type}"
    return f"{engine} {number} on {_processor()}{cache}"


def replay(server: EngineServer, package: Package, adapter: str = "", *, busy: bool = False) -> golden.Replay:
    """The golden examples of a package, or of one that its engine knows as this `adapter`. One that is `busy` computes
    in other batches, so that the perplexity decides. Raises GoldenMismatch, BadPackage."""
    name = identity(package.manifest.engine, server.setup.language.kv_type) + (", busy" if busy else "")
    with server.adapted(adapter) if adapter else nullcontext(server.ask) as ask:
        return golden.replay(ask, name, golden.read(package.folder))


def _processor() -> str:
    """The GPU if there is one, else the processor with the instructions that matter."""
    models = [each.read_text(errors="replace") for each in Path("/proc/driver/nvidia/gpus").glob("*/information")]
    if found := re.search(r"Model:\s*(.+)", "\n".join(sorted(models))):
        return found[1].strip()
    try:
        about = set(Path("/proc/cpuinfo").read_text(errors="replace").split())
    except OSError:
        about = set[str]()
    return " ".join([platform.machine(), *(each for each in _KERNELS if each in about)])


@contextmanager
def running(package: Package, base: Package | None) -> Generator[Ask]:
    """The engine of a package, ready to be asked. Raises MissingExtra, BadPackage, Unavailable."""
    loaded, about = base or package, (base or package).manifest.language
    adapters = {package.manifest.name: str(package.weights)} if base else {}
    threads = 1 if about and about.weights < SMALL else cores()
    language = Language(context=min(CONTEXT, about.context or CONTEXT) if about else CONTEXT, slots=1)
    with (
        tempfile.TemporaryDirectory(prefix="argosy-") as folder,
        started(loaded.manifest.engine, loaded.weights, language, threads, Path(folder), adapters=adapters) as server,
        server.adapted(package.manifest.name) if base else server.ask as ask,
    ):
        yield ask
