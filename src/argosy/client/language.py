"""A language model on this machine without a platform: served by its engine alone, at a TCP port, and measured.

An image that serves other models asks here as well, and has no HTTP client: engines are imported where they are used.
"""

import shlex
import signal
import tempfile
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from statistics import median

import msgspec

from argosy.client.local import check_unsigned, locate, name_of
from argosy.engines.language.base import Setup, fitted
from argosy.packaging import detect
from argosy.process import cores
from argosy.spec.address import Address
from argosy.spec.errors import Internal, InvalidArgument
from argosy.spec.language import Language, LanguageModel

WORD = "one two three four five six seven eight nine ten "
"""A prompt of which each word is about a token."""


class LanguageSource(msgspec.Struct, frozen=True, kw_only=True):
    """Weights, the engine that runs them, and what is known of them."""

    name: str
    engine: str
    weights: Path
    about: LanguageModel


def language_source(source: str | None, name: str | None = None) -> LanguageSource | None:
    """The language model of a file, folder or reference, which is read where it lies; None for other models, and where
    nothing is named. Raises NotFound, BadPackage, BadSignature, InvalidArgument for an adapter."""
    path = Path(source or "")
    if not source or (path.exists() and not (path / "model.yaml").exists() and not detect.is_language(path)):
        return None
    if path.exists() and not (path / "model.yaml").exists():
        check_unsigned(path)
        found = detect.detect(path)
        about, engine, weights, known = found.language, found.engine, found.path, name_of(path)
    else:
        located = locate(source)
        package = located.open()
        if (about := package.manifest.language) is None or about.kind not in ("generator", "adapter"):
            located.release()
            return None
        engine, weights, known = package.manifest.engine, package.weights, located.name
    if about is None or about.kind != "generator":
        raise InvalidArgument(f"{source} is an adapter: it is loaded beside its base, as language.adapters declares")
    return LanguageSource(name=name or known, engine=engine, weights=weights.resolve(), about=about)


def setup_of(source: LanguageSource, address: Address, language: Language, threads: int) -> Setup:
    """What its engine is started with here. Raises Unsupported, MissingExtra, InvalidArgument with the arithmetic where
    memory does not suffice."""
    from argosy.engines.language.process import engine_of

    engine_of(source.engine).check(language)
    language = fitted(language, source.about, cores.memory(), "the memory of this machine")
    weights, threads = str(source.weights), threads or cores.cores()
    return Setup(name=source.name, weights=weights, address=address, language=language, threads=threads)


def dry_run(engine: str, setup: Setup) -> str:
    """The exact command that starts an engine, as a shell takes it."""
    from argosy.engines.language.process import engine_of

    command, more = engine_of(engine).command(setup)
    return " ".join([*(f"{name}={shlex.quote(value)}" for name, value in more.items()), shlex.join(command)])


def serve(source: LanguageSource, setup: Setup, drain: float, ready: Callable[[], None]) -> None:
    """Run the engine until SIGINT or SIGTERM; answers that are being generated then have `drain` seconds. Raises
    BadPackage, Unavailable where it does not start, Internal where it ends by itself."""
    from argosy.engines.language.process import LOG, EngineServer, engine_of

    stop = threading.Event()

    def asked(number: int, frame: object) -> None:
        stop.set()

    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, asked)
    with tempfile.TemporaryDirectory(prefix="argosy-") as folder:
        server = EngineServer(engine_of(source.engine), setup, Path(folder), Path(folder) / LOG)
        try:
            server.wait(stop=stop.is_set)
            ready()
            while not stop.wait(0.2):
                if server.process.ended():
                    raise Internal(server.reason())
            server.drain(drain)
        finally:
            server.end()


class Measured(msgspec.Struct, frozen=True, kw_only=True):
    """With so many `threads` and requests at once: median seconds to the first token, for each further one, and tokens
    a second of all together."""

    threads: int
    slots: int
    batch_tokens: int
    ttft: float
    each: float
    rate: float


def measure(
    source: LanguageSource,
    threads: Sequence[int],
    slots: Sequence[int],
    batch: Sequence[int],
    *,
    prompt: int,
    answer: int,
) -> Iterator[Measured]:
    """Start the engine with each number of threads and of tokens in a batch, and ask it so many things at once. Each
    prompt is another one: none is in the cache. Raises as `serve`."""
    from argosy.engines.language.process import started

    context = prompt + answer + 64
    for count in threads:
        for size in batch:
            language = Language(context=context, slots=max(slots), batch_tokens=size)
            with (
                tempfile.TemporaryDirectory(prefix="argosy-") as folder,
                started(source.engine, source.weights, language, count, Path(folder), name=source.name) as server,
                ThreadPoolExecutor(max(slots)) as pool,
            ):
                server.ask.timed(WORD, 2)
                for at_once in slots:
                    prompts = (f"{count} {size} {at_once} {n} " + WORD * (prompt // 10) for n in range(at_once))
                    found = list(pool.map(partial(server.ask.timed, most=answer), prompts))
                    yield Measured(
                        threads=count,
                        slots=at_once,
                        batch_tokens=size,
                        ttft=median(one.first for one in found),
                        each=median(one.each for one in found),
                        rate=sum(one.output for one in found) / max(one.whole for one in found),
                    )


def best(found: Sequence[Measured], ttft: float, each: float) -> Measured | None:
    """The one with most tokens a second of those that are within the goals; None where none is."""
    within = [one for one in found if one.ttft <= ttft and one.each <= each]
    return max(within, key=lambda one: one.rate, default=None)
