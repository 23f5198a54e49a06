"""The linear programs of the planner, by HiGHS: of some models together, integer or not."""

import itertools
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from argosy.capacity.highs import solver
from argosy.capacity.planner.parts import Array, ModelPart

NEED = "Planning placements"
SUB_SEARCHES = ("rins", "rens", "root_reduced_cost", "feasibility_jump")
"""Heuristics of HiGHS that take more time than they are worth for one model."""

SHARE = 0.3
"""Of the replicas that are not whole yet, how many are rounded up at a time."""


class Block(NamedTuple):
    """The columns and rows of one model, without offsets. Columns: replicas that are started, those that are kept,
    flows, what is unserved, what is short, cells; rows: classes, groups, rules, cells. All rows are at least `floor`.

    Each rule is about nearly all replicas: by way of cells there are far fewer numbers, and solutions in a third of the
    time. More of a cell than the demand is of no use."""

    cost: Array
    upper: Array
    row: Array
    column: Array
    value: Array
    floor: Array
    kept: Array
    """The options of which replicas are running."""


def block(part: ModelPart) -> Block:
    """A model's. A kept replica costs less than one that is started, so that there is no need for a choice."""
    options, flows, classes, rules = len(part.cost), len(part.load), len(part.rate), len(part.short)
    cells = np.arange(len(part.cells))
    kept = np.flatnonzero(part.running > 0)
    at_flow = options + len(kept)
    at_class, at_rule = at_flow + flows, at_flow + flows + classes
    at_cell, first = at_rule + rules, classes + part.groups
    replica = np.concatenate([np.arange(options), kept])
    columns, flow = np.arange(options + len(kept)), np.arange(flows)
    cell, given = np.nonzero(part.cells[:, replica])
    rule, ruled = np.nonzero(part.rules)
    entries = [
        (part.flow_class, at_flow + flow, np.ones(flows)),
        (np.arange(classes), at_class + np.arange(classes), np.ones(classes)),
        (classes + part.group[replica], columns, np.ones(len(replica))),
        (classes + part.flow_group, at_flow + flow, -part.load),
        (first + rule, at_cell + ruled, part.rules[rule, ruled]),
        (first + np.arange(rules), at_rule + np.arange(rules), np.ones(rules)),
        (first + rules + cell, given, part.cells[:, replica][cell, given]),
        (first + rules + cells, at_cell + cells, -np.ones(len(cells))),
    ]
    row, column, value = (np.concatenate([np.asarray(each[at]) for each in entries]) for at in range(3))
    return Block(
        cost=np.concatenate(
            [part.cost + part.start, part.cost[kept], part.network, part.lost, part.short, 0.0 * cells]
        ),
        upper=np.concatenate(
            [part.most, np.minimum(part.running, part.most)[kept], np.ones(at_cell - at_flow + len(cells))]
        ),
        row=row,
        column=column,
        value=value,
        floor=np.concatenate([np.ones(classes), np.zeros(part.groups), np.ones(rules), 0.0 * cells]),
        kept=kept,
    )


class Solved(NamedTuple):
    """By model the columns; the cost; no solution costs less than `bound`. `duals`: by model of its rows; `prices`: of
    the supplies' quotas. `done` is false where there is no solution yet."""

    values: list[Array]
    cost: float
    bound: float
    duals: list[Array]
    prices: Array
    done: bool


class Program:
    """Some models that share the quotas of supplies. Integer where it is `whole`."""

    def __init__(
        self, chosen: Sequence[ModelPart], quota: Array | None, whole: bool = False, costs: Sequence[Array] = ()
    ) -> None:
        """`quota`: GPUs left by supply; None: no common limit. `costs`: instead of the models' own."""
        self.chosen, self.blocks = chosen, [block(each) for each in chosen]
        self.start = np.concatenate([[0], np.cumsum([len(each.cost) for each in self.blocks])]).astype(int)
        self.first = np.concatenate([[0], np.cumsum([len(each.floor) for each in self.blocks])]).astype(int)
        own = int(self.first[-1])
        rows = [each.row + self.first[at] for at, each in enumerate(self.blocks)]
        columns = [each.column + self.start[at] for at, each in enumerate(self.blocks)]
        values = [each.value for each in self.blocks]
        self.supplies = np.zeros(0, int)
        if quota is not None:
            uses = [supply_of(part, made) for part, made in zip(chosen, self.blocks, strict=True)]
            self.supplies = np.unique(np.concatenate(uses)) if uses else self.supplies
            for at, (part, made) in enumerate(zip(chosen, self.blocks, strict=True)):
                rows.append(own + np.searchsorted(self.supplies, uses[at]))
                columns.append(self.start[at] + np.arange(len(uses[at])))
                values.append(np.concatenate([part.gpus, part.gpus[made.kept]]))
        row, column, value = (np.concatenate(each) if each else np.zeros(0) for each in (rows, columns, values))
        order = np.lexsort((row, column))
        self.columns, self.rows = int(self.start[-1]), own + len(self.supplies)
        starts = np.searchsorted(column[order], np.arange(self.columns))
        self.upper = np.concatenate([each.upper for each in self.blocks])
        low = np.full(self.rows, -np.inf)
        low[:own] = np.concatenate([each.floor for each in self.blocks])
        high = np.full(self.rows, np.inf)
        if quota is not None:
            high[own:] = np.maximum(quota[self.supplies], 0.0)
        self.cost = np.concatenate(list(costs) or [each.cost for each in self.blocks])
        integers = np.zeros(self.columns, np.int32)
        if whole:
            for at, made in enumerate(self.blocks):
                integers[self.start[at] : self.start[at] + len(chosen[at].cost) + len(made.kept)] = 1
        self.solver = solver(NEED)
        self.solver.passModel(
            self.columns, self.rows, len(value), 1, 1, 0.0, self.cost, np.zeros(self.columns), self.upper.copy(), low,
            high, starts.astype(np.int32), row[order].astype(np.int32), value[order].astype(float), integers,
        )  # fmt: skip
        self.whole = whole

    def begin(self, replicas: Sequence[Array]) -> None:
        """Begin the search at these, by option of each model."""
        index, value = list[Array](), list[Array]()
        for at, (made, held) in enumerate(zip(self.blocks, replicas, strict=True)):
            kept = np.minimum(held[made.kept], made.upper[len(held) : len(held) + len(made.kept)])
            new = held.copy()
            new[made.kept] -= kept
            index.append(self.start[at] + np.arange(len(new) + len(kept)))
            value.append(np.concatenate([new, kept]))
        where, what = np.concatenate(index).astype(np.int32), np.concatenate(value)
        self.solver.setSolution(len(where), where, what)

    def solve(self, seconds: float, **options: Any) -> Solved:
        """Within so many seconds of wall time."""
        set_option = self.solver.setOptionValue
        if self.whole:
            set_option("mip_allow_cut_separation_at_nodes", False)
            for name in SUB_SEARCHES:
                set_option(f"mip_heuristic_run_{name}", False)
        set_option("time_limit", self.solver.getRunTime() + max(seconds, 0.01))
        for name, value in options.items():
            set_option(name, value)
        self.solver.run()
        info, values = self.solver.getInfo(), np.array(self.solver.getSolution().col_value)
        done = info.primal_solution_status == 2 and len(values) == self.columns
        if done and abs(info.objective_function_value - self.cost @ values) > 1e-6 * (1 + abs(self.cost @ values)):
            # HiGHS 1.16 can return what the search began at as the best, with the cost of what presolve found instead.
            self.solver.clearSolver()
            self.solver.run()
            info, values = self.solver.getInfo(), np.array(self.solver.getSolution().col_value)
        duals = np.array(self.solver.getSolution().row_dual)
        own = int(self.first[-1])
        return Solved(
            values=_split(values, self.start),
            cost=float(info.objective_function_value),
            bound=float(info.mip_dual_bound if self.whole else info.objective_function_value),
            duals=_split(duals, self.first),
            prices=np.maximum(-duals[own:], 0.0) if len(duals) else np.zeros(len(self.supplies)),
            done=done,
        )

    def dive(self, quota: Array, seconds: float) -> list[Array]:
        """Whole replicas by model, from the solution of the linear program: those that miss least of one more are
        rounded up, which may take what there is, and the others follow in what is solved again from where it was."""
        run, found = self.solver.run, self.solver.getSolution
        self.solver.setOptionValue("presolve", "off")
        self.solver.setOptionValue("time_limit", self.solver.getRunTime() + seconds)
        both = list(zip(self.chosen, self.blocks, strict=True))
        counts = [len(part.cost) + len(made.kept) for part, made in both]
        column = np.concatenate([first + np.arange(count) for first, count in zip(self.start, counts, strict=False)])
        supply = np.concatenate([supply_of(part, made) for part, made in both])
        gpus = np.concatenate([np.append(part.gpus, part.gpus[made.kept]) for part, made in both])
        column, most = column.astype(np.int32), self.upper[column].copy()
        least, values = np.zeros(len(column)), np.array(found().col_value)[column]
        while True:
            least = np.maximum(least, np.floor(values + 1e-6))
            part = np.flatnonzero(values > least + 1e-6)
            if not len(part):
                break
            left = quota - np.bincount(supply, least * gpus, len(quota))
            up = max(1, int(SHARE * len(part)))
            for at in part[np.argsort(least[part] - values[part], kind="stable")].tolist():
                if least[at] + 1 > most[at] or gpus[at] > left[supply[at]] + 1e-6:
                    most[at] = least[at]
                elif up > 0:
                    least[at], left[supply[at]], up = least[at] + 1, left[supply[at]] - gpus[at], up - 1
            self.solver.changeColsBounds(len(column), column, least, most)
            run()
            if self.solver.getInfo().primal_solution_status != 2:
                break
            values = np.array(found().col_value)[column]
        return self.replicas(np.split(least, np.cumsum(counts)[:-1]))

    def replicas(self, values: Sequence[Array]) -> list[Array]:
        """By option, of those that are started and those that are kept."""
        made = list[Array]()
        for part, own, taken in zip(self.chosen, self.blocks, values, strict=True):
            made.append(taken[: len(part.cost)].copy())
            made[-1][own.kept] += taken[len(part.cost) : len(part.cost) + len(own.kept)]
        return made


def supply_of(part: ModelPart, made: Block) -> Array:
    """By column of replicas."""
    return np.concatenate([part.supply, part.supply[made.kept]])


def _split(values: Array, ends: Array) -> list[Array]:
    """By model."""
    return [values[begin:end] for begin, end in itertools.pairwise(ends.tolist())] if len(values) else []
