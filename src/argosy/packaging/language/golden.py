"""Golden examples of a language model: prompts with greedy answers, and a text with the log-probability of each token.

The engine that made them, in the same version on the same kind of processor, has to give the same tokens, and the same
mean log-probability within 0.01. Arithmetic differs elsewhere, and one token that is chosen otherwise changes all that
follow: there the perplexity of the text has to agree within a declared margin.
"""

import math
from collections.abc import Sequence
from pathlib import Path

import msgspec

from argosy.engines.language.ask import Ask
from argosy.spec.errors import BadPackage, GoldenMismatch, InvalidArgument
from argosy.spec.strict import parse

FILE = "golden/language.json"
TOKENS = 32
"""Tokens of each answer."""
NEAR = 0.01
"""How far the mean log-probability may be off, on the same engine."""
MARGIN = 0.02
UNKNOWN = "unknown"
"""In the identity of an engine whose version cannot be told."""
_MOST = 64
_MAX_FILE = 4 * 1024 * 1024
_MAX_PROMPT = 16_384

PROMPTS = ("The planets of the solar system are", "def add(a, b):\n    return", "Water boils at")
QUESTIONS = ("Name the planets of the solar system.", "What is 17 plus 25?", "Write one sentence about the sea.")
TEXT = (
    "All human beings are born free and equal in dignity and rights. They are endowed with reason and conscience and "
    "should act towards one another in a spirit of brotherhood."
)


class Example(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """A prompt, or messages, and what the model answered: the text, and how many tokens it is."""

    prompt: str = ""
    messages: tuple[dict[str, str], ...] = ()
    answer: str = ""
    tokens: int = 0


class Golden(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`golden/language.json`. `engine` names engine, version and kind of processor; `logprobs` are those of the tokens
    of `text` but the first; `margin` is by what share the perplexity may differ elsewhere."""

    engine: str
    examples: tuple[Example, ...]
    text: str
    logprobs: tuple[float, ...]
    margin: float = MARGIN

    @property
    def perplexity(self) -> float:
        return math.exp(-_mean(self.logprobs))

    def described(self) -> str:
        """What a replay compares, in two lines."""
        return (
            f"{len(self.examples)} answers of up to {TOKENS} tokens, and the mean log-probability of a text within "
            f"{NEAR:g}, on {self.engine}\nelsewhere the perplexity of the text, {self.perplexity:.4g}, within "
            f"{self.margin:.2g}"
        )


class Replay(msgspec.Struct, frozen=True, kw_only=True):
    """What was compared: answers with so many `tokens`, where engine, version and processor are those of the push; else
    (`exact` False) the perplexity alone. `gap` is how far it was off."""

    exact: bool
    engine: str
    tokens: int
    gap: float
    said: str


def prompts(path: Path | None, chat: bool) -> tuple[Example, ...]:
    """Ours, or those of a file of JSON lines, {"prompt": …} or {"messages": […]}. Raises InvalidArgument."""
    if path is None:
        asked = tuple(Example(messages=({"role": "user", "content": each},)) for each in QUESTIONS)
        return asked if chat else tuple(Example(prompt=each) for each in PROMPTS)
    try:
        if path.stat().st_size > _MAX_FILE:
            raise InvalidArgument(f"{path} has more than {_MAX_FILE} bytes")
        lines = [line for line in path.read_bytes().splitlines() if line.strip()]
    except OSError as error:
        raise InvalidArgument(f"{path} cannot be read: {error.strerror}") from None
    if not 0 < len(lines) <= _MOST:
        raise InvalidArgument(f"{path} has {len(lines)} prompts; 1 to {_MOST} can be golden examples")
    return tuple(_prompt(path, number, line, chat) for number, line in enumerate(lines, 1))


def _prompt(path: Path, number: int, line: bytes, chat: bool) -> Example:
    found = parse(line, Example, f"{path}, line {number}", InvalidArgument)
    if bool(found.prompt) == bool(found.messages) or found.answer or found.tokens or len(line) > _MAX_PROMPT:
        raise InvalidArgument(
            f'{path}, line {number}: give {{"prompt": "…"}} or {{"messages": [{{"role": "user", "content": "…"}}]}}, '
            f"in at most {_MAX_PROMPT} bytes"
        )
    if any(each.keys() != {"role", "content"} for each in found.messages):
        raise InvalidArgument(f"{path}, line {number}: a message has role and content, and nothing else")
    if found.messages and not chat:
        raise InvalidArgument(f"{path}, line {number}: the model has no chat template, so it takes no messages")
    return found


def make(asked: Ask, engine: str, examples: Sequence[Example], margin: float) -> Golden:
    """Have the engine of this identity answer, and answer again. Raises GoldenMismatch where the answers differ,
    BadPackage where there is nothing to compare."""
    answered = tuple(_answered(asked, each) for each in examples)
    logprobs = tuple(round(each, 6) for each in asked.logprobs(TEXT))
    if not logprobs or not all(map(math.isfinite, logprobs)) or not any(each.tokens for each in answered):
        raise BadPackage("the model gives no tokens, or log-probabilities that are no numbers")
    made = Golden(engine=engine, examples=answered, text=TEXT, logprobs=logprobs, margin=margin)
    replay(asked, engine, made)
    return made


def _answered(asked: Ask, one: Example) -> Example:
    messages, prompt = one.messages, one.prompt
    found = asked.chat(messages, most=TOKENS) if messages else asked.complete(prompt, most=TOKENS)
    return msgspec.structs.replace(one, answer=found.text, tokens=found.output)


def replay(asked: Ask, engine: str, golden: Golden) -> Replay:
    """Compare a running engine of this identity (`engine.identity`) with golden examples. Raises GoldenMismatch naming
    what differs."""
    exact = engine == golden.engine and UNKNOWN not in engine
    if exact:
        for number, one in enumerate(golden.examples, 1):
            _compare(number, one, _answered(asked, one))
    found = asked.logprobs(golden.text)
    if exact and len(found) != len(golden.logprobs):
        raise GoldenMismatch(f"golden text: {len(found) + 1} tokens, and {len(golden.logprobs) + 1} when it was pushed")
    mean, want, tokens = _mean(found), _mean(golden.logprobs), sum(one.tokens for one in golden.examples)
    perplexity = math.exp(min(-mean, 700.0))
    gap = abs(mean - want) if exact else abs(perplexity / golden.perplexity - 1)
    if exact:
        told = f"mean log-probability {mean:.4f}, and {want:.4f} when it was pushed ({NEAR:g} allowed)"
        said = f"{len(golden.examples)} answers, {tokens} tokens in all, agree; {told}; on {engine}"
    else:
        told = (
            f"perplexity {perplexity:.4g} on {engine}, and {golden.perplexity:.4g} on {golden.engine} when it was "
            f"pushed: {gap:.2%} apart, {golden.margin:.2g} allowed"
        )
        said = f"{told}; answers were not compared, since they differ between engines"
    if not gap <= (NEAR if exact else golden.margin):
        raise GoldenMismatch(f"golden text: {told}")
    return Replay(exact=exact, engine=engine, tokens=tokens * exact, gap=gap, said=said)


def _compare(number: int, want: Example, got: Example) -> None:
    if (want.answer, want.tokens) == (got.answer, got.tokens):
        return
    pairs = zip(want.answer, got.answer, strict=False)
    place = next((at for at, (one, other) in enumerate(pairs) if one != other), min(len(want.answer), len(got.answer)))
    begin = max(place - 20, 0)
    raise GoldenMismatch(
        f"golden example {number}: the answer differs from its letter {place + 1} on: "
        f"want {want.answer[begin : place + 20]!r}, got {got.answer[begin : place + 20]!r}"
    )


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values) if values else math.nan


def read(folder: Path) -> Golden:
    """The golden examples of a package folder. Raises BadPackage: there is no package without."""
    path = folder / FILE
    if not path.is_file():
        raise BadPackage(f"the package has no golden examples: {FILE} is missing")
    if path.stat().st_size > _MAX_FILE:
        raise BadPackage(f"{path} is larger than {_MAX_FILE} bytes")
    return decode(path.read_bytes())


def decode(data: bytes) -> Golden:
    """The golden examples in these bytes. Raises BadPackage."""
    found = parse(data, Golden, f"{FILE} cannot be read")
    if not found.logprobs or not found.examples:
        raise BadPackage(f"{FILE} has nothing to compare with")
    return found


def write(folder: Path, golden: Golden) -> None:
    """Put golden examples into a package folder."""
    (folder / FILE).write_bytes(msgspec.json.format(msgspec.json.encode(golden), indent=1) + b"\n")
