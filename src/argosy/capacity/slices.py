"""How a GPU is cut into slices that isolate models: what `slices.toml` says of MIG and MPS. Pure."""

import tomllib
from collections.abc import Sequence
from functools import cache
from pathlib import Path

import msgspec

from argosy.spec.errors import InvalidArgument


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


def size(gpu: str, name: str) -> Slice:
    """A profile of a kind of GPU. Raises InvalidArgument where there is none of that name."""
    cut = cuts().mig.get(gpu)
    found = {each.name: each for each in cut.profiles} if cut else {}
    if name not in found:
        raise InvalidArgument(f"MIG cuts no '{name[:40]}' from {gpu[:40]}; its profiles: {', '.join(found) or 'none'}")
    return found[name]


def share(gpu: str, name: str) -> float:
    """What part of a GPU one slice is: the mean of its compute and of its memory, so that no way to cut a GPU gives
    more than the whole."""
    one, whole = size(gpu, name), cuts().mig[gpu].slices
    return (one.compute / whole[0] + one.memory / whole[1]) / 2


@cache
def ways(gpu: str, names: tuple[str, ...]) -> tuple[tuple[int, ...], ...]:
    """How often each of these profiles can be on one GPU together, such that none fits beside them any more."""
    known = {(0,) * len(names)}
    full, open_ = set[tuple[int, ...]](), list(known)
    while open_:
        counts = open_.pop()
        more = [tuple(n + (at == nth) for at, n in enumerate(counts)) for nth in range(len(names))]
        more = [each for each in more if arrange(gpu, [n for n, k in zip(names, each, strict=True) for _ in range(k)])]
        if not more:
            full.add(counts)
        open_ += set(more) - known
        known |= set(more)
    return tuple(sorted(full, reverse=True))


def arrange(gpu: str, names: Sequence[str]) -> tuple[int, ...] | None:
    """At which memory slice each profile begins, if they fit on one GPU together; else None. Raises InvalidArgument for
    a name that is none."""
    if not names:
        return ()
    wanted = [size(gpu, name) for name in names]
    if sum(each.compute for each in wanted) > cuts().mig[gpu].slices[0]:
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
