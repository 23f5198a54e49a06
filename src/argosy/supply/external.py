"""External providers that answer requests: what a request costs there, as one more offer, and as one more peer. Pure.

To the gateway such a provider is a peer that answers as degraded: replicas here come first, then other regions, then
this. Residency holds as for any peer: a provider is in its region, or in one of its own name.
"""

from collections.abc import Mapping
from typing import Any

import msgspec

from argosy.spec.offer import Offer
from argosy.spec.region import Peer
from argosy.spec.supply import External

MILLION = 1_000_000
TYPICAL = (1000, 200)
"""Tokens of the prompt and the answer by which the price of an offer is reckoned."""
ANSWER = 4096
"""Tokens that an answer may have that says no bound."""
LAST = 1_000_000.0
"""The rank of an external provider among peers: behind all regions."""
PATHS = ("/v1/chat/completions", "/v1/completions", "/v1/responses", "/v1/embeddings", "/v1/rerank")


class Usage(msgspec.Struct, frozen=True):
    """What OpenAI's answers say of tokens, under either of its names."""

    prompt_tokens: int = 0
    completion_tokens: int = 0
    input_tokens: int = 0
    output_tokens: int = 0


class _Answer(msgspec.Struct, frozen=True):
    usage: Usage | None = None


class OverflowConfig(msgspec.Struct, frozen=True, kw_only=True):
    """What the process is told that sends requests there: its port, and for each provider the secret that the gateway
    shows it."""

    port: int
    tokens: dict[str, str]
    external: dict[str, External]


def price(external: External, prompt: float, answer: float) -> float:
    """US dollars of a request with so many tokens."""
    return external.request + (external.input * prompt + external.output * answer) / MILLION


def most(external: External, body: bytes, asked: Mapping[str, Any]) -> float:
    """What a request may cost at the most: a token has one byte at the least."""
    bound: Any = (
        asked.get("max_completion_tokens") or asked.get("max_tokens") or asked.get("max_output_tokens") or ANSWER
    )
    answers: Any = asked.get("n") or 1
    good = isinstance(bound, int) and isinstance(answers, int)
    return price(external, len(body), max(0, bound) * max(1, answers) if good else ANSWER)


def cost(external: External, answer: bytes) -> tuple[float, int] | None:
    """What an answer, or an event of one, says that was used, in US dollars and tokens; None where it says nothing."""
    try:
        usage = msgspec.json.decode(answer, type=_Answer).usage
    except msgspec.MsgspecError:
        return None
    if usage is None:
        return None
    prompt, answered = usage.prompt_tokens or usage.input_tokens, usage.completion_tokens or usage.output_tokens
    return price(external, prompt, answered), prompt + answered


def offers(external: Mapping[str, External], now: float) -> list[Offer]:
    """Each model of each provider as an offer: what an hour at its `rate` costs, of typical requests."""
    return [
        Offer(
            provider=name,
            region=each.region,
            instance=model,
            price=3600 * each.rate * price(each, *TYPICAL),
            as_of=now,
            source="declared",
            trusted=False,
        )
        for name, each in external.items()
        if each.budget
        for model in dict.fromkeys(each.models.values())
    ]


def peers(config: OverflowConfig) -> tuple[Peer, ...]:
    """The providers as the gateway has them."""
    return tuple(
        Peer(
            region=each.region or name,
            host="127.0.0.1",
            port=config.port,
            http1=True,
            rank=LAST + price(each, *TYPICAL),
            endpoints=tuple(each.models),
            token=config.tokens[name],
        )
        for name, each in config.external.items()
        if each.budget
    )
