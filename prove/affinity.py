"""`python -m prove.affinity`: the time to the first token of conversations, by the routing policy and in turn.

Three llama.cpp engines with Gemma 3 270M, one thread each, behind one gateway. The same conversations are played twice:
through an endpoint with all three engines, which the gateway's policy routes, and through three endpoints of one engine
each, which are asked in turn. Engines are started anew in between.
"""

import argparse
import asyncio
import json
import random
import statistics
import sys
import tempfile
import time
from contextlib import ExitStack
from pathlib import Path
from typing import NamedTuple

import httpx

from argosy.engines.language.process import started
from argosy.gateway.gateway import Gateway
from argosy.gateway.model import EndpointRoute, GatewayConfig, RevisionRoute, Upstream
from argosy.spec.address import Address
from argosy.spec.language import Language
from tests.language.weights import gemma

ENGINES, CONVERSATIONS, TURNS, AT_ONCE, ANSWER = 3, 24, 8, 2, 4
GOAL = 0.5
WORDS = ("ship", "harbour", "cargo", "wind", "sail", "rope", "anchor", "crew", "chart", "tide", "storm", "deck", "mast")


class Turn(NamedTuple):
    """What one request took."""

    turn: int
    seconds: float
    prompt: int
    cached: int


def upstream(name: str, path: Path) -> Upstream:
    """A replica whose engine is there; its own HTTP is nowhere."""
    return Upstream(replica=name, http=Address(path=f"{path}.none"), engine=Address(path=str(path)))


def endpoint(name: str, ups: tuple[Upstream, ...], language: Language) -> EndpointRoute:
    """A model that nobody needs a key for."""
    cache = language.context * language.slots
    revision = RevisionRoute(revision="r1", version="1", weight=1, language=True, cache=cache, upstreams=ups)
    return EndpointRoute(endpoint=name, auth=False, revisions=(revision,))


def said(chance: random.Random, words: int) -> str:
    """So many words."""
    return " ".join(chance.choice(WORDS) for _ in range(words))


async def ask(client: httpx.AsyncClient, model: str, messages: list[dict[str, str]]) -> tuple[float, str, int, int]:
    """Seconds to the first token, the answer, tokens of the prompt, those of them that were cached."""
    about = {"model": model, "messages": messages, "max_tokens": ANSWER, "temperature": 0, "stream": True}
    begin, first, text, timings = time.perf_counter(), 0.0, "", {"prompt_n": 0, "cache_n": 0}
    async with client.stream("POST", "/v1/chat/completions", json=about | {"timings_per_token": True}) as answer:
        answer.raise_for_status()
        async for line in answer.aiter_lines():
            if not line.startswith("data: {"):
                continue
            event = json.loads(line[6:])
            timings = event.get("timings", timings)
            for choice in event.get("choices", []):
                content = choice["delta"].get("content") or ""
                first = first or (time.perf_counter() - begin if content else 0.0)
                text += content
    return first or time.perf_counter() - begin, text, timings["prompt_n"], timings["cache_n"]


async def play(client: httpx.AsyncClient, models: list[str], seed: int) -> list[Turn]:
    """All conversations, a few of them at once, each in an order of its own."""
    chance, free, turns, found = random.Random(seed), asyncio.Semaphore(AT_ONCE), [0], list[Turn]()

    async def conversation(number: int) -> None:
        own = random.Random(seed * 1000 + number)
        messages = [{"role": "system", "content": f"You are number {number}. " + said(own, 200)}]
        for turn in range(TURNS):
            await asyncio.sleep(chance.random() / 20)
            async with free:
                messages.append({"role": "user", "content": said(own, 40)})
                model = models[turns[0] % len(models)]
                turns[0] += 1
                seconds, text, prompt, cached = await ask(client, model, messages)
                messages.append({"role": "assistant", "content": text})
                found.append(Turn(turn, seconds, prompt + cached, cached))

    await asyncio.gather(*(conversation(number) for number in range(CONVERSATIONS)))
    return found


async def through(folder: Path, paths: list[Path], language: Language, *, policy: bool, seed: int) -> list[Turn]:
    """Through a gateway of this tree."""
    ups = [upstream(f"r{at}", path) for at, path in enumerate(paths)]
    split = [endpoint(f"gemma{at}", (each,), language) for at, each in enumerate(ups)]
    routes = [endpoint("gemma", tuple(ups), language)] if policy else split
    gateway = Gateway(GatewayConfig(run_dir=str(folder / "run"), port=0, concurrency=1, drain_seconds=1))
    await gateway.start(routes)
    try:
        host, port = await gateway.address()
        async with httpx.AsyncClient(base_url=f"http://{host}:{port}", timeout=300) as client:
            return await play(client, [each.endpoint for each in routes], seed)
    finally:
        await gateway.stop(0.5)


def run(*, policy: bool, seed: int) -> list[Turn]:
    """With engines of its own."""
    language = Language(context=2048, slots=CONVERSATIONS // ENGINES)
    with tempfile.TemporaryDirectory(prefix="pa") as name, ExitStack() as stack:
        paths: list[Path] = []
        for at in range(ENGINES):
            folder = Path(name) / str(at)
            folder.mkdir()
            server = stack.enter_context(started("llamacpp", gemma(), language, 1, folder))
            paths.append(Path(server.setup.address.path))
        return asyncio.run(through(Path(name), paths, language, policy=policy, seed=seed))


def main() -> int:
    """Both, for each seed; 1 where the goal is missed."""
    parser = argparse.ArgumentParser(description="time to first token of conversations, by policy and in turn")
    parser.add_argument("--seeds", type=int, default=1)
    seeds = parser.parse_args().seeds
    later: dict[bool, list[Turn]] = {True: [], False: []}
    print("| seed | routing | first turn p50 | later turns p50 | p90 | found in a cache |\n" + "| --- " * 6 + "|")
    for seed in range(1, seeds + 1):
        for policy in (False, True) if seed % 2 else (True, False):
            turns = run(policy=policy, seed=seed)
            after = [each for each in turns if each.turn]
            later[policy] += after
            first = statistics.median(each.seconds for each in turns if not each.turn)
            waits = sorted(each.seconds for each in after)
            hits = sum(each.cached for each in after) / sum(each.prompt for each in after)
            cells = [seed, "policy" if policy else "in turn", f"{first:.2f} s", f"{statistics.median(waits):.2f} s"]
            print(
                "|",
                " | ".join(map(str, [*cells, f"{waits[int(0.9 * len(waits))]:.2f} s", f"{hits:.0%}"])),
                "|",
                flush=True,
            )
    ours, theirs = (statistics.median(each.seconds for each in later[policy]) for policy in (True, False))
    print(f"\nlater turns, p50: {ours / theirs:.2f} of what it is in turn (goal {GOAL})")
    return ours > GOAL * theirs


if __name__ == "__main__":
    sys.exit(main())
