"""Language models: what a package says of one, how its engine is set up, what its tokens cost and how many a key may
use."""

import re
from typing import Annotated, ClassVar, Literal

import msgspec
from msgspec import Meta

from argosy.spec.errors import InvalidArgument
from argosy.spec.signature import Semantic, Signature, TensorSpec
from argosy.spec.strict import Amount, Count, Declaration, repeated

Kind = Literal["generator", "encoder", "reranker", "adapter"]
KV_TYPES = ("f16", "q8_0", "q4_0")
AtZero = Literal["absent", "prefetched", "asleep"]
_ADAPTER = re.compile(r"[a-z0-9][a-z0-9._-]*[:@][A-Za-z0-9][A-Za-z0-9._-]*")


def _column(name: str, datatype: str = "BYTES", semantic: Semantic = "") -> TensorSpec:
    return TensorSpec(name=name, datatype=datatype, shape=(-1,), semantic=semantic)


RECORDED = Signature(
    inputs=(
        _column("prompt", semantic="text"),
        _column("characters", "INT64"),
        _column("tokens", "INT64"),
        _column("language", semantic="categorical"),
    ),
    outputs=(
        _column("text", semantic="text"),
        _column("characters", "INT64"),
        _column("tokens", "INT64"),
        _column("finish", semantic="categorical"),
        _column("id", semantic="text"),
        _column("cut", "BOOL"),
        _column("label", "INT64", "label"),
    ),
)
"""What the payload log has of requests to a model that generates text, and of its answers; see docs/guides/payloads.md.
`label` is what feedback is compared with: 1, a thumb up."""


class LanguageModel(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """What is known of a language model from its files alone. It is part of `model.yaml`, and so of the digest.

    `parameters` are counted; `weights` are their bytes. `context` is the number of tokens that it was trained with.
    `kv_bytes` is what one token takes in the KV cache at 16 bits, over all layers. `quantization` is as the field names
    it: Q4_K_M, BF16, … `template` says what its chat template contains beyond plain loops and conditions; `chat`
    whether it has one. `base` is the digest of the package, or failing that the name of the model, that an adapter is
    made for. `dimensions` are the lengths that an embedding may be cut to; 0 stands for any.
    """

    kind: Kind
    architecture: str
    parameters: int = 0
    weights: int = 0
    quantization: str = ""
    context: int = 0
    kv_bytes: int = 0
    chat: bool = False
    template: tuple[str, ...] = ()
    tokenizer: str = ""
    base: str = ""
    dimensions: tuple[int, ...] = ()

    def memory(self, context: int, slots: int = 1, kv_type: str = "f16") -> int:
        """Bytes that weights and the KV cache of so many sequences of this context take."""
        share = {"f16": 1.0, "q8_0": 0.53125, "q4_0": 0.28125}[kv_type]
        return self.weights + int(self.kv_bytes * share) * context * slots


class Language(Declaration, frozen=True, kw_only=True):
    """How the engine of a language model runs. Part of a revision.

    `context` is the tokens of one sequence, prompt and answer together (0: what it was trained with, or as much as
    `resources.memory` holds); `slots` sequences are generated at once. `kv_type` is the datatype of the KV cache.
    `gpu_layers` go to the GPU (-1: all that fit); `tensor_parallel` is over how many GPUs each layer is spread.
    `batch_tokens` is the most that one step of the engine takes in. `draft` is the model that speculative decoding asks
    first, a version as `gemma-draft:1`, or `ngram`; empty: none. `adapters` are versions of adapters that replicas load
    beside their base. `at_zero` says what stays of a replica while the endpoint has none: nothing (`absent`), its
    weights in the page cache of the machine (`prefetched`), or its processes, with the weights in main memory and not
    on the GPU (`asleep`). `share` names another endpoint, whose replicas answer by the adapter that is its model.
    """

    context: Annotated[int, Meta(ge=0)] = 0
    slots: Annotated[int, Meta(ge=1, le=1024)] = 4
    kv_type: Literal["f16", "q8_0", "q4_0"] = "f16"
    gpu_layers: Annotated[int, Meta(ge=-1)] = -1
    tensor_parallel: Count = 1
    batch_tokens: Count = 2048
    draft: str = ""
    adapters: tuple[str, ...] = ()
    share: str = ""
    at_zero: AtZero = "absent"

    where: ClassVar[str] = "language."

    def __post_init__(self) -> None:
        super().__post_init__()
        if bad := next((each for each in self.adapters if not _ADAPTER.fullmatch(each)), None):
            raise InvalidArgument(f"language.adapters: '{bad[:80]}' is no NAME:VERSION or NAME@ALIAS")
        if twice := repeated(map(adapter_name, self.adapters)):
            raise InvalidArgument(f"language.adapters has two versions of '{twice}'; callers choose by the name alone")


def adapter_name(ref: str) -> str:
    """What callers choose an adapter by, as in `gemma+poet`."""
    return re.split("[:@]", ref, maxsplit=1)[0]


class Price(Declaration, frozen=True, kw_only=True):
    """What a million tokens cost, in one currency. `cached` are input tokens that were found in the KV cache; where no
    price is given for them they cost as other input."""

    input: Amount = 0.0
    cached: Amount | None = None
    output: Amount = 0.0
    currency: Annotated[str, Meta(pattern="^[A-Z]{3}$")] = "USD"

    where: ClassVar[str] = "price."

    def of(self, input: int, cached: int, output: int) -> float:
        """What an answer costs; `cached` are among the `input`."""
        again = self.input if self.cached is None else self.cached
        return ((input - cached) * self.input + cached * again + output * self.output) / 1e6


class TokenLimits(Declaration, frozen=True, kw_only=True):
    """What one key may use at one endpoint, or at all that it covers: tokens, input and output together, in a minute, a
    day or a month of UTC, and money in a day or a month. None: no limit. `unreachable` says what is done where the
    ledger cannot be asked: refuse (`closed`) or answer (`open`)."""

    tokens_per_minute: Count | None = None
    tokens_per_day: Count | None = None
    tokens_per_month: Count | None = None
    money_per_day: Amount | None = None
    money_per_month: Amount | None = None
    unreachable: Literal["closed", "open"] = "closed"

    where: ClassVar[str] = "limits."

    def __post_init__(self) -> None:
        super().__post_init__()
        order = (self.tokens_per_minute, self.tokens_per_day, self.tokens_per_month)
        known = [each for each in order if each is not None]
        if known != sorted(known):
            raise InvalidArgument("limits: a longer period must not have fewer tokens than a shorter one")

    @property
    def costs(self) -> bool:
        return self.money_per_day is not None or self.money_per_month is not None

    @property
    def any(self) -> bool:
        tokens = (self.tokens_per_minute, self.tokens_per_day, self.tokens_per_month)
        return self.costs or any(each is not None for each in tokens)
