"""How a GPU is cut into slices that isolate models, and which models may share one that does not. Pure.

`slices.toml` says what MIG and MPS offer. Without isolation two models share a GPU only where a measurement says how
much slower each is beside the other, and both still hold what they promise: an unknown pair shares nothing.
"""

import tomllib
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path

import msgspec

from argosy.spec.errors import InvalidArgument

GIB = 1 << 30


class Slice(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A profile of MIG: compute slices, GiB, memory slices, and where one may begin."""

    name: str
    compute: int
    gib: float
    memory: int
    starts: tuple[int, ...]


class Cut(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A kind of GPU: its compute and memory slices, and its profiles, the smallest first."""

    slices: tuple[int, int]
    profiles: tuple[Slice, ...]


class Shared(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """MPS: clients of a GPU at most, and the steps of their share of its compute."""

    clients: int
    step: float


class Cuts(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """`slices.toml`."""

    mps: Shared
    mig: dict[str, Cut]


@cache
def cuts() -> Cuts:
    """What MIG and MPS offer."""
    return msgspec.convert(tomllib.loads(Path(__file__).with_suffix(".toml").read_text()), Cuts)


def smallest(gpu: str, share: float, memory: float) -> Slice | None:
    """The smallest slice of a kind of GPU with so much of its compute and so many bytes; None where MIG has none."""
    cut = cuts().mig.get(gpu)
    if cut is None:
        return None
    for each in cut.profiles:
        if each.compute / cut.slices[0] >= share - 1e-9 and each.gib * GIB >= memory:
            return each
    return None


def arrange(gpu: str, names: Sequence[str]) -> tuple[int, ...] | None:
    """At which memory slice each profile begins, if they fit on one GPU together; else None. Raises InvalidArgument for
    a name that is none."""
    cut = cuts().mig.get(gpu)
    known = {each.name: each for each in cut.profiles} if cut else {}
    unknown = next((name for name in names if name not in known), None)
    if cut is None or unknown is not None:
        raise InvalidArgument(f"MIG cuts no '{unknown or ''}' from {gpu}; its profiles: {', '.join(known) or 'none'}")
    wanted = [known[name] for name in names]
    if sum(each.compute for each in wanted) > cut.slices[0]:
        return None
    order = sorted(range(len(wanted)), key=lambda at: (-wanted[at].memory, len(wanted[at].starts)))
    found: dict[int, int] = {}

    def fill(nth: int, taken: int) -> bool:
        if nth == len(order):
            return True
        one = wanted[order[nth]]
        for start in reversed(one.starts):
            bits = ((1 << one.memory) - 1) << start
            if not bits & taken:
                found[order[nth]] = start
                if fill(nth + 1, taken | bits):
                    return True
        return False

    return tuple(found[at] for at in range(len(wanted))) if fill(0, 0) else None


class Pair(msgspec.Struct, frozen=True, kw_only=True):
    """How many times slower (p99) `model` was measured to be beside `other` on one GPU."""

    model: str
    other: str
    slower: float


class Neighbours:
    """Which models may share a GPU: both directions are measured, and neither is slower than it may be (`room`, by
    model: what it promises over what it takes alone)."""

    def __init__(self, pairs: Sequence[Pair], room: Mapping[str, float]) -> None:
        self._slower = {(each.model, each.other): each.slower for each in pairs}
        self._room = room

    def __call__(self, model: str, other: str) -> bool:
        return all(
            self._slower.get(pair, float("inf")) <= self._room.get(pair[0], 1.0)
            for pair in ((model, other), (other, model))
        )
