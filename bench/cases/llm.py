"""A language model through the gateway with key, quota, usage and access log, and through peers; see `bench/fronts.py`.

Tokens a second of Gemma 3 270M (or of `BENCH_LLM_WEIGHTS`) against the engine's own server; the time to the first token
that is added before a fake engine that takes 5 ms; requests a second before an engine that answers at once. Everybody
has both cores, clients included. All run at once, and only one of them is asked.
"""

import re
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path

from bench import fronts, load
from bench.fronts import BOTH, HEADERS, KEY, PATH, Front
from bench.results import Target
from bench.rounds import Bench
from bench.servers import PEERS_FOLDER, Command, Ports, Running, Server, Unavailable, free_ports, running
from prove.llm import SIZES, WARM, Connection, quantile, request
from tests.language.fake_engine import running as fake_engine

NAME, ENGINE = "llm", "engine"
STREAMS = (1, 4, 8)
TOKENS, DELAY, CONNECTIONS = 32, 0.005, 32
RATE, TAIL = f"requests/s, 1 KB, {CONNECTIONS} connections", "p99 added at half of its rate"
COST = "processor for a request"
TARGETS = [
    *(Target(NAME, f"tokens/s, {each} streams", ">=", 0.98, base=ENGINE) for each in STREAMS),
    *(Target(NAME, f"first token, {s} KB: p50 added", "<=", at) for s, at in zip(SIZES, (0.5, 1, 3), strict=True)),
    Target(NAME, f"first token, {SIZES[-1]} KB: p99 added", "<=", 20),
    Target(NAME, RATE, ">=", 10, base="litellm"),
    Target(NAME, TAIL, "<=", 1),
]
_USED = re.compile(rb'"completion_tokens"\s*:\s*(\d+)')


def used(answer: bytes) -> int:
    """Tokens of an answer, as it says itself."""
    found = _USED.findall(answer)
    if not found:
        raise Unavailable(f"its answer does not say what it used: {answer[-300:]!r}")
    return int(found[-1])


def answered(port: int, ask: bytes, tries: int = 3) -> bytes:
    """On a connection of its own: llama.cpp closes those that have waited for a thread of its server."""
    with closing(Connection(("127.0.0.1", port))) as connection:
        try:
            return connection.whole(ask)[1]
        except ConnectionError:
            if tries == 1:
                raise
    return answered(port, ask, tries - 1)


def tokens_per_second(port: int, streams: int, seconds: float) -> float:
    """Of so many streams at once, each asked for again as it ends until the time is over."""
    ask = request(100, KEY, stream=True, max_tokens=TOKENS, ignore_eos=True, stream_options={"include_usage": True})
    counts, failed, ready = [0] * streams, list[Exception](), threading.Barrier(streams)
    begin = time.perf_counter()

    def loop(number: int) -> None:
        try:
            ready.wait(10)
            while time.perf_counter() < begin + seconds or not counts[number]:
                counts[number] += used(answered(port, ask))
        except (OSError, AssertionError, Unavailable, threading.BrokenBarrierError) as error:
            failed.append(error)

    threads = [threading.Thread(target=loop, args=(number,)) for number in range(streams)]
    for each in threads:
        each.start()
    for each in threads:
        each.join()
    if failed:
        raise Unavailable(f"a stream failed: {failed[0]}")
    return sum(counts) / (time.perf_counter() - begin)


def first_tokens(straight: int, front: Running, size: int, count: int) -> tuple[float, float, float]:
    """Milliseconds that are added at p50 and p99, asked by turns; and microseconds of processor that each takes."""
    ask = request(size * 1000, KEY, stream=True)
    try:
        with (
            closing(Connection(("127.0.0.1", straight))) as engine,
            closing(Connection(("127.0.0.1", front.ports.http))) as gateway,
        ):
            before = front.cpu()
            took = [(engine.stream(ask), gateway.stream(ask)) for _ in range(count + WARM)]
            cost = (front.cpu() - before) / len(took) * 1e6
    except (OSError, AssertionError) as error:
        raise Unavailable(f"a prompt of {size} KB failed: {error}") from None
    one, other = zip(*took[WARM:], strict=True)
    return quantile(other, 0.5) - quantile(one, 0.5), quantile(other, 0.99) - quantile(one, 0.99), cost


def rates(straight: int, front: Running, seconds: float) -> tuple[float, float, float]:
    """Requests a second, microseconds of processor that each takes there, and milliseconds that are added at p99 at
    half that rate."""
    url, body = f"http://127.0.0.1:{front.ports.http}{PATH}", request(1000, KEY).partition(b"\r\n\r\n")[2]
    load.wrk(url, body, HEADERS, CONNECTIONS, 1, BOTH)
    before = front.cpu()
    found = load.wrk(url, body, HEADERS, CONNECTIONS, seconds, BOTH)
    cost = (front.cpu() - before) / found.requests * 1e6
    seconds = max(seconds, 40 / found.rate)
    tails = [
        load.open_loop(port, PATH, body, HEADERS, found.rate / 2, seconds, BOTH, apart=True).p99_us
        for port in (straight, front.ports.http)
    ]
    return found.rate, cost, (tails[1] - tails[0]) / 1e3


def ready(bench: Bench, stack: ExitStack, part: str, found: list[Front], engine: int) -> dict[str, Running]:
    """Name → one, of those that can be started in front of an engine."""
    there: dict[str, Running] = {}
    for front in found:
        try:
            there[front.name] = stack.enter_context(fronts.started(front, engine))
        except Unavailable as why:
            bench.results.failures[f"{NAME}, {part}: {front.name}"] = str(why)
    return there


@contextmanager
def instant() -> Iterator[int]:
    """The port of an engine that answers at once."""

    def command(_: Path, ports: Ports) -> Command:
        return Command([sys.executable, str(PEERS_FOLDER / "instant_engine.py"), str(ports.http)])

    with running(Server("instant", command), Path(), fronts.PROBE, HEADERS, BOTH, PATH) as found:
        yield found.ports.http


def run(bench: Bench) -> None:
    results, chosen = bench.results, fronts.FRONTS if bench.peers else [fronts.ARGOSY]
    if note := fronts.dry_run():
        results.note(f"llm: {note}.")
    results.note(
        "llm: litellm has two workers and checks its master key, since keys with quotas need PostgreSQL there; smg "
        "checks a tenant's key and a limit of requests, since its quotas of tokens are for engines that speak gRPC."
    )

    with ExitStack() as stack:
        engine = stack.enter_context(running(fronts.ENGINE, Path(), fronts.PROBE, HEADERS, BOTH, PATH))
        more = [fronts.LLAMA_CPP_PYTHON] if bench.peers else []
        asked = {ENGINE: engine} | ready(bench, stack, "tokens", [*chosen, *more], engine.ports.http)

        def tokens(name: str, streams: int) -> None:
            rate = tokens_per_second(asked[name].ports.http, streams, bench.seconds)
            results.add(NAME, f"tokens/s, {streams} streams", "1/s", name, rate)

        for streams in STREAMS:  # by turns at each, so that what is compared was measured side by side
            turns = [(name, lambda name=name, streams=streams: tokens(name, streams)) for name in asked]
            bench.interleave(f"{NAME}, {streams} streams", turns)

    with ExitStack() as stack:
        straight = free_ports().http
        stack.enter_context(fake_engine(port=straight, delay=DELAY, model=fronts.MODEL))
        before = ready(bench, stack, "first token", chosen, straight)

        def firsts(name: str) -> None:
            for size in SIZES:
                half, most, cost = first_tokens(straight, before[name], size, max(20, int(40 * bench.seconds)))
                results.add(NAME, f"first token, {size} KB: p50 added", "ms", name, half)
                results.add(NAME, f"first token, {size} KB: p99 added", "ms", name, most)
                results.add(NAME, f"first token, {size} KB: processor", "µs", name, cost)

        bench.interleave(f"{NAME}, first token", [(name, lambda name=name: firsts(name)) for name in before])

    with ExitStack() as stack:
        quick = stack.enter_context(instant())
        behind = ready(bench, stack, "rate", chosen, quick)

        def rate(name: str) -> None:
            most, cost, tail = rates(quick, behind[name], bench.seconds)
            results.add(NAME, RATE, "1/s", name, most)
            results.add(NAME, COST, "µs", name, cost)
            results.add(NAME, TAIL, "ms", name, tail)

        bench.interleave(f"{NAME}, rate", [(name, lambda name=name: rate(name)) for name in behind])
