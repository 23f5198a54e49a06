"""What is asked of every language engine: how it is started, what it can be set to, how its metrics read; and how much
memory a model takes."""

import re
from abc import ABC, abstractmethod
from collections.abc import Mapping
from pathlib import Path
from typing import ClassVar

import msgspec

from argosy.process.launch import Child
from argosy.process.sandbox import Policy
from argosy.spec.address import Address
from argosy.spec.errors import InvalidArgument, Unsupported
from argosy.spec.language import Language, LanguageModel

GIB = 1024**3
OWN = 512 * 1024**2
"""Bytes that engine and replica take beside weights and KV cache: their code, and what a step computes."""
LEAST_CONTEXT = 256
KEPT = ("context", "slots", "kv_type", "gpu_layers", "tensor_parallel", "batch_tokens", "draft", "adapters")
_SAMPLE = re.compile(r"^([a-zA-Z_:][a-zA-Z0-9_:]*)(?:\{[^}]*\})? ([^ \n]+)", re.MULTILINE)


class Setup(msgspec.Struct, frozen=True, kw_only=True):
    """What one engine is started with. `name` is the model's in requests, `adapters` are by theirs. `variables` are
    added to its environment; `required`: it runs in a whole sandbox or not at all."""

    name: str
    weights: str
    address: Address
    language: Language = Language()
    threads: int = 1
    adapters: dict[str, str] = {}
    draft: str = ""
    variables: dict[str, str] = {}
    required: bool = False

    @property
    def files(self) -> tuple[str, ...]:
        """What the engine reads: the folder of split weights, since only the first file is named."""
        weights = Path(self.weights)
        first = str(weights.parent if "-of-" in weights.name else weights)
        return (first, *self.adapters.values(), *((self.draft,) if self.draft else ()))


class Load(msgspec.Struct, frozen=True, kw_only=True):
    """How busy an engine is: requests that are generated and that wait, the share of the KV cache that is used (where
    it tells), and since its start tokens of prompts, those of them found in the cache, tokens of answers, and how often
    it `decoded`, for all that it generates at once. `steps` is anything that grows while it generates."""

    running: int = 0
    waiting: int = 0
    kv_used: float = 0.0
    input: int = 0
    cached: int = 0
    output: int = 0
    decoded: int = 0
    steps: float = 0.0

    @property
    def busy(self) -> int:
        """Requests that are not answered yet."""
        return self.running + self.waiting


class LanguageEngine(ABC):
    """One kind of engine. `extra` brings it; `kv_types` and `settings` are what it can be set to, of those of
    `Language`; `own_user`: its child may be another user than we, where we are root. `sleeps`: the paths of its server
    that put it to sleep and wake it, where it can. `numbers`: requests choose an adapter by its number, in the order in
    which they were loaded, under `lora`; else by a name in the place of the model's."""

    name: ClassVar[str]
    extra: ClassVar[str]
    settings: ClassVar[tuple[str, ...]]
    kv_types: ClassVar[tuple[str, ...]] = ("f16",)
    own_user: ClassVar[bool] = True
    sleeps: ClassVar[tuple[str, str] | None] = None
    numbers: ClassVar[bool] = False

    @abstractmethod
    def installed(self) -> bool:
        """Whether it can be started here."""

    @abstractmethod
    def command(self, setup: Setup) -> tuple[list[str], dict[str, str]]:
        """What starts it: the arguments, from its program on, and the variables that it is given."""

    @abstractmethod
    def child(self, setup: Setup, folder: Path, policy: Policy) -> Child:
        """The child of ours that becomes it, working in `folder`."""

    @abstractmethod
    def load(self, metrics: Mapping[str, float]) -> Load:
        """How busy it is, by the samples of its metrics."""

    def check(self, language: Language) -> None:
        """Raises Unsupported for a setting that this engine does not have."""
        default = Language()
        for name in KEPT:
            value = getattr(language, name)
            if value != getattr(default, name) and name not in self.settings:
                raise Unsupported(f"language.{name} is {value!r}, which {self.name} does not have: leave it out")
        if language.at_zero == "asleep" and self.sleeps is None:
            raise Unsupported(f"language.at_zero is 'asleep', and {self.name} cannot sleep: declare 'prefetched'")
        if language.kv_type not in self.kv_types:
            known = " or ".join(self.kv_types)
            raise Unsupported(f"language.kv_type is '{language.kv_type}'; {self.name} has {known}")


def samples(text: str) -> dict[str, float]:
    """Name → value of Prometheus metrics; those with labels are added up."""
    found: dict[str, float] = {}
    for name, value in _SAMPLE.findall(text):
        try:
            found[name] = found.get(name, 0.0) + float(value)
        except ValueError:
            continue
    return found


def fitted(language: Language, model: LanguageModel, memory: int, where: str) -> Language:
    """The settings with a context: the declared one, or the one that the model was trained with, or as much as goes
    into `memory`, of which `where` says whose it is. Raises InvalidArgument with the arithmetic where it does not fit.
    """
    room = memory - model.memory(0) - OWN
    each = max(1, model.memory(1, language.slots, language.kv_type) - model.memory(0))
    most = max(0, room // each)
    context = language.context or min(model.context or most, most)
    if context > most or context < min(LEAST_CONTEXT, model.context or LEAST_CONTEXT):
        asked = max(context, LEAST_CONTEXT)
        cache = model.memory(asked, language.slots, language.kv_type) - model.memory(0)
        raise InvalidArgument(
            f"the model does not fit into {where}, {memory / GIB:.2f} GiB: weights of {model.weights / GIB:.2f} GiB, a "
            f"KV cache of {asked} tokens x {language.slots} slots x {each / language.slots / 1024:.1f} KiB = "
            f"{cache / GIB:.2f} GiB ({language.kv_type}), {OWN / GIB:.2f} GiB for the engine itself: "
            f"{(model.memory(0) + cache + OWN) / GIB:.2f} GiB together; declare a shorter language.context, fewer "
            "language.slots, language.kv_type q8_0, or more resources.memory"
        )
    return msgspec.structs.replace(language, context=context)
