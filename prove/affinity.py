"""`python -m prove.affinity`: the time to the first token of conversations, by the routing policy and in turn.

Llama.cpp engines with Gemma 3 270M, one thread each, behind one gateway: three that its policy routes among, and three
more that are asked in turn, each through an endpoint of its own. Of 24 conversations of 8 turns, in an order drawn by
chance, two have their turn at once; each turn is asked both ways, one after the other, so that whatever else the
machine does slows both down alike.

`bounded`: an engine keeps 10 conversations, of 24, as one of a model does whose cache is large beside its memory. The
goal is judged by this. `roomy`: it keeps what it does as we start it, which of a model as small as this is all of them.
`lockstep`: roomy, and each conversation has its turn when the one before it has had its own: 24 conversations asked in
turn of 3 engines then come back to the engine that they were on.
"""

import argparse
import asyncio
import json
import random
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Generator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import NamedTuple

import httpx
import msgspec

from argosy.engines.language.ask import Ask
from argosy.engines.language.base import Setup
from argosy.gateway.gateway import Gateway
from argosy.gateway.model import EndpointRoute, GatewayConfig, RevisionRoute, Upstream
from argosy.spec.address import Address
from argosy.spec.language import Language
from tests.language.weights import gemma

AT_ONCE, ANSWER, QUESTION = 2, 4, 40
GOAL, POLICY = 0.5, "gemma"
WORDS = ("ship", "harbour", "cargo", "wind", "sail", "rope", "anchor", "crew", "chart", "tide", "storm", "deck", "mast")
SERVER = """
import sys
from argosy.engines.language import llamacpp
llamacpp.PROMPTS_MIB = int(sys.argv.pop(1))
sys.exit(llamacpp.main(sys.argv[1:]))
"""


class Setting(NamedTuple):
    """What an engine keeps: sequences in its cache, and MiB of memory for prompts besides; whether conversations have
    their turns in lockstep; and how many there are of everything."""

    slots: int
    memory: int
    lockstep: bool = False
    engines: int = 3
    conversations: int = 24
    turns: int = 8
    opening: int = 200

    def order(self, seed: int) -> list[int]:
        """Whose turn it is, one after another."""
        found = list(range(self.conversations)) * self.turns
        if not self.lockstep:
            random.Random(seed).shuffle(found)
        return found

    @property
    def language(self) -> Language:
        """Of an engine."""
        return Language(context=2048, slots=self.slots)


SETTINGS = {"bounded": Setting(10, 0), "roomy": Setting(8, 256), "lockstep": Setting(8, 256, lockstep=True)}


class Turn(NamedTuple):
    """What one request took. `policy`: routed by it."""

    policy: bool
    turn: int
    seconds: float
    prompt: int
    cached: int

    @property
    def computed(self) -> int:
        """Tokens of the prompt that no cache had."""
        return self.prompt - self.cached


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


async def play(client: httpx.AsyncClient, setting: Setting, seed: int) -> list[Turn]:
    """All conversations, both ways."""
    places, found = enumerate(setting.order(seed)), list[Turn]()
    chances = [random.Random(seed * 1000 + number) for number in range(setting.conversations)]
    spoken = [
        [{"role": "system", "content": f"You are number {number}. " + said(each, setting.opening)}]
        for number, each in enumerate(chances)
    ]
    locks = [asyncio.Lock() for _ in chances]

    async def turns() -> None:
        for place, number in places:
            async with locks[number]:
                messages = spoken[number]
                messages.append({"role": "user", "content": said(chances[number], QUESTION)})
                text = ""
                for policy in (True, False) if place % 2 else (False, True):
                    model = POLICY if policy else f"{POLICY}-{place % setting.engines}"
                    seconds, text, prompt, cached = await ask(client, model, messages)
                    found.append(Turn(policy, len(messages) // 2 - 1, seconds, prompt + cached, cached))
                messages.append({"role": "assistant", "content": text})

    await asyncio.gather(*(turns() for _ in range(AT_ONCE)))
    return found


async def through(folder: Path, paths: Sequence[Path], setting: Setting, seed: int) -> list[Turn]:
    """Through a gateway of this tree, with the first half of the engines by the policy."""
    routed, split = paths[: setting.engines], paths[setting.engines :]
    ups = tuple(upstream(f"r{at}", path) for at, path in enumerate(routed))
    routes = [endpoint(POLICY, ups, setting.language)]
    for at, path in enumerate(split):
        routes.append(endpoint(f"{POLICY}-{at}", (upstream(f"s{at}", path),), setting.language))
    gateway = Gateway(GatewayConfig(run_dir=str(folder / "run"), port=0, concurrency=1, drain_seconds=1))
    await gateway.start(routes)
    try:
        host, port = await gateway.address()
        async with httpx.AsyncClient(base_url=f"http://{host}:{port}", timeout=300) as client:
            return await play(client, setting, seed)
    finally:
        await gateway.stop(0.5)


@contextmanager
def engine(folder: Path, setting: Setting) -> Generator[Path]:
    """One that is ready: its socket."""
    folder.mkdir()
    address = Address(path=str(folder / "engine.sock"))
    setup = Setup(name="gemma", weights=str(gemma()), address=address, language=setting.language)
    argv = [sys.executable, "-c", SERVER, str(setting.memory), msgspec.json.encode(setup).decode()]
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(argv, cwd=folder, stdout=log, stderr=log)
    try:
        with Ask(address, "gemma") as asked:
            while not asked.healthy():
                assert process.poll() is None, (folder / "log").read_text()[-500:]
                time.sleep(0.05)
        yield Path(address.path)
    finally:
        process.terminate()
        process.wait()


def run(setting: Setting, seed: int) -> list[Turn]:
    """With engines of its own."""
    with tempfile.TemporaryDirectory(prefix="pa") as name, ExitStack() as stack:
        paths = [stack.enter_context(engine(Path(name) / str(at), setting)) for at in range(2 * setting.engines)]
        return asyncio.run(through(Path(name), paths, setting, seed))


def compare(name: str, seeds: int) -> float:
    """The table of a setting; p50 of later turns by the policy over that in turn."""
    later: dict[bool, list[Turn]] = {True: [], False: []}
    for seed in range(1, seeds + 1):
        turns = run(SETTINGS[name], seed)
        for policy in (False, True):
            mine = [each for each in turns if each.policy == policy]
            after = [each for each in mine if each.turn]
            later[policy] += after
            waits = sorted(each.seconds for each in after)
            first = statistics.median(each.seconds for each in mine if not each.turn)
            hits = sum(each.cached for each in after) / sum(each.prompt for each in after)
            computed = statistics.median(each.computed for each in after)
            times = [f"{each:.2f} s" for each in (first, statistics.median(waits), waits[int(0.9 * len(waits))])]
            cells = [name, str(seed), "policy" if policy else "in turn", *times, f"{hits:.0%}", f"{computed:.0f}"]
            print("| " + " | ".join(cells) + " |", flush=True)
    ours, theirs = (statistics.median(each.seconds for each in later[policy]) for policy in (True, False))
    return ours / theirs


def main() -> int:
    """Both, for each setting and seed; 1 where the goal is missed in the one that it is for."""
    parser = argparse.ArgumentParser(description="time to first token of conversations, by policy and in turn")
    parser.add_argument("--seeds", type=int, default=1)
    parser.add_argument("--setting", action="append", choices=SETTINGS, help="only this one (repeatable)")
    a = parser.parse_args()
    titles = ("setting", "seed", "routing", "first turn p50", "later turns p50", "p90", "in a cache", "computed, p50")
    print("| " + " | ".join(titles) + " |\n" + "| --- " * len(titles) + "|")
    ratios = {name: compare(name, a.seeds) for name in a.setting or SETTINGS}
    print()
    for name, ratio in ratios.items():
        goal = f" (goal {GOAL})" if name == "bounded" else ""
        print(f"{name}: later turns by the policy take {ratio:.2f} of what they take in turn, at p50{goal}")
    return ratios.get("bounded", 0.0) > GOAL


if __name__ == "__main__":
    sys.exit(main())
