"""HiGHS, the solver of linear programs, of the extra `place`."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from argosy.spec import errors


def solver(need: str) -> Any:
    """A solver of one thread that prints nothing. The class of `highspy` greets on standard output, before it can be
    told not to, where it makes room for callbacks; none are used here. Raises MissingExtra, which says what the `need`
    is."""
    kind: Any = errors.require("highspy", "place", need).Highs
    made = kind.__new__(kind)
    kind.__mro__[1].__init__(made)
    made.setOptionValue("output_flag", False)
    made.setOptionValue("threads", 1)
    made.setOptionValue("random_seed", 0)
    return made


class IntegerProgram:
    """An integer program, row by row. `need` says what it is for."""

    def __init__(self, need: str) -> None:
        self.need = need
        self.costs, self.lower, self.upper, self.integer = list[float](), list[float](), list[float](), list[int]()
        self.low, self.high, self.starts = list[float](), list[float](), list[int]()
        self.index, self.value = list[int](), list[float]()

    def column(self, cost: float, upper: float = np.inf, *, lower: float = 0.0, whole: bool = False) -> int:
        self.costs.append(cost)
        self.lower.append(lower)
        self.upper.append(upper)
        if whole:
            self.integer.append(len(self.costs) - 1)
        return len(self.costs) - 1

    def row(self, low: float, high: float, entries: Sequence[tuple[int, float]]) -> None:
        self.low.append(low)
        self.high.append(high)
        self.starts.append(len(self.index))
        self.index += [column for column, _ in entries]
        self.value += [number for _, number in entries]

    def solve(self, seconds: float, gap: float) -> tuple[Any, float]:
        """The values, and the bound."""
        highs = solver(self.need)
        count = len(self.costs)
        none = np.array([], np.int32)
        highs.addCols(
            count, np.array(self.costs), np.array(self.lower), np.array(self.upper), 0, none, none, none.astype(float)
        )
        highs.addRows(
            len(self.low), np.array(self.low), np.array(self.high), len(self.index),
            np.array(self.starts, np.int32), np.array(self.index, np.int32), np.array(self.value),
        )  # fmt: skip
        whole = np.array(self.integer, np.int32)
        highs.changeColsIntegrality(len(whole), whole, np.ones(len(whole), np.uint8))
        highs.setOptionValue("time_limit", seconds)
        highs.setOptionValue("mip_rel_gap", gap)
        highs.run()
        return np.array(highs.getSolution().col_value), float(highs.getInfo().mip_dual_bound)
