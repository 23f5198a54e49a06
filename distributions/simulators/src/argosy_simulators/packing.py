"""Which GPU a replica gets that needs a fraction of one, or several of one machine. Pure.

Three rules. `best` leaves the least. `fgd` is Fragmentation Gradient Descent (Weng et al., USENIX ATC 2023): what is
left of a machine counts as a fragment for each ask, of those expected, that cannot use it; the place at which the
fragments grow least is chosen. `argosy` looks further ahead for fractions: a linear program fills the GPUs that are
open, and those still empty, with what is expected until all are full (an arc flow, Valério de Carvalho 1999). Its dual
prices say what each remainder is worth; the place whose worth falls least is chosen. `fgd` decides between equals, and
where processors or memory are used up first.

Without isolation two models share a GPU only where a measurement says how much slower each is beside the other, and
both still hold what they promise: an unknown pair shares nothing.
"""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import Literal, NamedTuple

import msgspec
import numpy as np
import numpy.typing as npt

from argosy.capacity.highs import solver
from argosy.spec.strict import require

Rule = Literal["argosy", "fgd", "best"]
Floats = npt.NDArray[np.float64]
Flags = npt.NDArray[np.bool_]
Together = Callable[[str, str], bool]

MOST = 8
"""GPUs of one machine."""
STEP = 0.02
"""Remainders are priced in steps of this share of a GPU."""
AGAIN = 10
"""Fractions placed until prices are found again."""
GRADIENT = 0.02
"""What a fragment counts for beside the fall of a remainder's worth."""
TINY = 1e-9


class Machine(msgspec.Struct, frozen=True, kw_only=True):
    """Its GPUs, all of one kind, and what else replicas take of it; `memory` is in bytes."""

    gpus: int
    cpus: float = float("inf")
    memory: float = float("inf")


class Ask(msgspec.Struct, frozen=True, kw_only=True):
    """What a replica needs: below 1 a share of one GPU, else a whole number of GPUs of one machine."""

    gpus: float
    cpus: float = 0.0
    memory: float = 0.0
    model: str = ""

    def __post_init__(self) -> None:
        whole = self.gpus >= 1 and self.gpus == int(self.gpus) and self.gpus <= MOST
        require(
            "packing: ",
            {
                f"a replica takes a share of one GPU or 1 to {MOST} whole ones, not {self.gpus:g}": 0 < self.gpus < 1
                or whole,
                "cpus and memory must be finite, and at least 0": 0 <= self.cpus < 1e9 and 0 <= self.memory < 1e18,
            },
        )


class Place(NamedTuple):
    """The machine, by its index, and the GPUs of it."""

    machine: int
    gpus: tuple[int, ...]


class _Candidates(NamedTuple):
    """Where an ask fits: machines, which of their GPUs, and what is left then."""

    machines: npt.NDArray[np.intp]
    taken: Flags
    left: Floats
    others: Floats


class Packing:
    """Machines, and what is free of them. `expected` is a sample of what is asked for, as of the last day; `together`
    says which models may share a GPU (None: all, as where slices isolate them)."""

    def __init__(
        self,
        machines: Sequence[Machine],
        expected: Sequence[Ask],
        *,
        rule: Rule = "argosy",
        together: Together | None = None,
    ) -> None:
        most = all(1 <= each.gpus <= MOST for each in machines)
        require("packing: ", {f"a machine has 1 to {MOST} GPUs": most, "nothing is expected": bool(expected)})
        there: Flags = np.arange(MOST) < np.array([each.gpus for each in machines])[:, None]
        self._free: Floats = np.where(there, 1.0, 0.0)
        self._there = there
        self._others: Floats = np.array([(each.cpus, each.memory) for each in machines])
        self._models: dict[tuple[int, int], Counter[str]] = {}
        self._together = together
        self._rule = rule
        self._kinds = _Kinds(expected)
        fractions = any(each.gpus < 1 for each in expected)
        self._prices = _Prices(expected) if rule == "argosy" and fractions else None
        self._fragments: Floats = self._kinds.fragments(self._free, self._others)

    @property
    def unallocated(self) -> float:
        """The share of all GPUs that is free."""
        return float(self._free.sum() / self._there.sum())

    def put(self, ask: Ask) -> Place | None:
        """Take a place for it; None where it fits nowhere."""
        found = self._candidates(ask)
        if not len(found.machines):
            return None
        best = int(np.argmin(self._scores(ask, found)))
        machine = int(found.machines[best])
        gpus = tuple(np.nonzero(found.taken[best])[0].tolist())
        self._set(machine, found.left[best], found.others[best])
        for gpu in gpus:
            self._models.setdefault((machine, gpu), Counter())[ask.model] += 1
        return Place(machine, gpus)

    def take(self, ask: Ask, place: Place) -> None:
        """Give its place back."""
        free = self._free[place.machine].copy()
        free[list(place.gpus)] += min(1.0, ask.gpus)
        free[np.abs(free - 1) < TINY] = 1.0
        for gpu in place.gpus:
            self._models[place.machine, gpu][ask.model] -= 1
        self._set(place.machine, free, self._others[place.machine] + (ask.cpus, ask.memory))

    def _set(self, machine: int, free: Floats, others: Floats) -> None:
        self._free[machine], self._others[machine] = free, others
        at = slice(machine, machine + 1)
        self._fragments[at] = self._kinds.fragments(self._free[at], self._others[at])

    def _candidates(self, ask: Ask) -> _Candidates:
        share = min(1.0, ask.gpus)
        taken: Flags
        fits: Flags = self._there & (self._free >= share - TINY)
        fits = fits & np.all(self._others >= np.array((ask.cpus, ask.memory)) - TINY, axis=1)[:, None]
        if self._together is not None:
            for (machine, gpu), models in self._models.items():
                if not all(self._together(ask.model, model) for model, count in models.items() if count):
                    fits[machine, gpu] = False
        if ask.gpus < 1:
            machines, gpus = np.nonzero(fits)
            taken = np.zeros((len(machines), MOST), np.bool_)
            taken[np.arange(len(machines)), gpus] = True
        else:
            machines = np.nonzero(fits.sum(axis=1) >= ask.gpus)[0]
            whole: Flags = fits[machines]
            taken = whole & (np.cumsum(whole, axis=1) <= ask.gpus)
        left: Floats = self._free[machines] - share * taken
        left[np.abs(left) < TINY] = 0.0
        return _Candidates(machines, taken, left, self._others[machines] - (ask.cpus, ask.memory))

    def _scores(self, ask: Ask, found: _Candidates) -> Floats:
        """The least is the best."""
        rest = (found.left * found.taken).sum(axis=1)
        if self._rule == "best":
            return rest + 1e-3 * found.left.sum(axis=1)
        grown = self._kinds.fragments(found.left, found.others) - self._fragments[found.machines]
        if self._prices is None or ask.gpus >= 1:
            return grown
        if not self._prices.matter(self._free, self._others):
            return grown
        worth = self._prices.worth(self._free)
        return worth(rest + ask.gpus) - worth(rest) + GRADIENT * grown + 1e-3 * rest


class _Kinds:
    """What is expected, in kinds with their shares."""

    def __init__(self, expected: Sequence[Ask]) -> None:
        kinds = Counter(
            (each.gpus if each.gpus >= 1 else min(0.95, np.ceil(each.gpus * 10 - TINY) / 10), each.cpus, each.memory)
            for each in expected
        ).most_common(80)
        self._shares = np.array([count for _, count in kinds], float) / sum(count for _, count in kinds)
        self._others = np.array([kind[1:] for kind, _ in kinds])
        self._sizes, self._size = np.unique(np.array([kind[0] for kind, _ in kinds]), return_inverse=True)

    def fragments(self, free: Floats, others: Floats) -> Floats:
        """By machine: GPUs that an ask cannot use, in expectation over the kinds."""
        total = free.sum(axis=1)
        unusable, enough = np.empty((2, len(free), len(self._sizes)))
        for at, size in enumerate(self._sizes):
            usable = free >= min(size, 1.0) - TINY
            unusable[:, at] = total - (free * usable).sum(axis=1)
            enough[:, at] = usable.sum(axis=1) >= max(size, 1.0)
        fits = enough[:, self._size] > 0
        fits &= (others[:, None, :] >= self._others[None] - TINY).all(axis=2)
        return np.where(fits, unusable[:, self._size], total[:, None]) @ self._shares


class _Prices:
    """What remainders are worth, by the dual prices of an arc flow.

    A GPU is a path from its remainder to none, each arc an ask that is put there; the last one is what is wasted. Node
    `n` is a GPU of which `n` steps are taken. Rows: a node each, an expected size each, and the GPUs that are empty.
    """

    def __init__(self, expected: Sequence[Ask]) -> None:
        self._highs = solver("packing by prices")
        self._nodes = round(1 / STEP)
        steps = [int(np.ceil(each.gpus / STEP - 1e-6)) for each in expected if each.gpus < 1]
        sizes, counts = np.unique(np.minimum(steps, self._nodes), return_counts=True)
        self._share = counts / len(expected)
        self._whole = sum(each.gpus for each in expected if each.gpus >= 1) / len(expected)
        self._mean = sum(each.gpus for each in expected) / len(expected)
        self._others = np.array([(each.cpus, each.memory) for each in expected]).mean(axis=0)
        self._asked = 0
        self._build(sizes.tolist())

    def _build(self, sizes: list[int]) -> None:
        nodes, empty = self._nodes, self._nodes + len(sizes)
        columns = list[tuple[float, list[tuple[int, float]]]]()
        for at in range(nodes):
            for number, size in enumerate(sizes):
                if at + size <= nodes:
                    ends = [(at + size, -1.0)] if at + size < nodes else []
                    columns.append((-size * STEP, [(at, 1.0), *ends, (nodes + number, 1.0)]))
            columns.append((0.0, [(at, 1.0)]))
        columns.append((0.0, [(0, -1.0), (empty, 1.0)]))
        columns.append((-1.0, [(empty, 1.0)]))
        self._last = len(columns) - 1
        costs = np.array([cost for cost, _ in columns])
        starts = np.cumsum([0, *(len(rows) for _, rows in columns)]).astype(np.int32)
        index = np.array([row for _, rows in columns for row, _ in rows], np.int32)
        value = np.array([number for _, rows in columns for _, number in rows])
        none, many = np.array([], np.int32), np.full(len(columns), np.inf)
        for _ in range(empty + 1):
            self._highs.addRow(0.0, 0.0, 0, none, none.astype(float))
        self._highs.addCols(len(columns), costs, costs * 0, many, len(index), starts[:-1], index, value)

    def _solve(self, free: Floats) -> None:
        coming = float(free.sum()) / self._mean
        opened = free[(free > TINY) & (free < 1 - TINY)]
        nodes = np.bincount(self._node(opened), minlength=self._nodes).astype(float)[: self._nodes]
        most = np.concatenate([coming * self._share, [float((free >= 1 - TINY).sum())]])
        lower = np.concatenate([nodes, np.full(len(most), -np.inf)])
        rows = np.arange(len(lower), dtype=np.int32)
        self._highs.changeRowsBounds(len(rows), rows, lower, np.concatenate([nodes, most]))
        self._highs.changeColBounds(self._last, 0.0, coming * self._whole)
        self._highs.run()
        duals = -np.array(self._highs.getSolution().row_dual)
        self._values = np.append(duals[: self._nodes], 0.0)
        self._values[0] = duals[-1]

    def _node(self, left: Floats) -> npt.NDArray[np.intp]:
        return np.clip(np.ceil((1 - left) / STEP - 1e-6), 0, self._nodes).astype(np.intp)

    def matter(self, free: Floats, others: Floats) -> bool:
        """Whether GPUs are used up before processors and memory are, if what comes is as expected."""
        return bool(np.all(others.sum(axis=0) * self._mean >= free.sum() * self._others))

    def worth(self, free: Floats) -> Callable[[Floats], Floats]:
        """Of remainders, in GPUs that will be used; found again each `AGAIN` times."""
        if self._asked % AGAIN == 0:
            self._solve(free)
        self._asked += 1
        return lambda left: np.where(left <= TINY, 0.0, self._values[self._node(left)])


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
