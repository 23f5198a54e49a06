"""Plans: prices of the GPUs that models share from a linear program, then models one by one, then some at a time.

No plan costs less than the sum, over models, of what each costs at least at those prices, less the prices times what
there is (Lagrange); so how far a plan is from the best is known model by model, and that is where time goes.
"""

import time
from collections.abc import Callable, Iterable, Mapping

import msgspec
import numpy as np

from argosy.capacity.planner.linear import Program, block
from argosy.capacity.planner.parts import Array, ModelPart, Sites, parts
from argosy.capacity.planner.problem import Costs, Placement, Plan, Problem
from argosy.capacity.planner.rent import rent
from argosy.capacity.planner.route import Routed, again, route
from argosy.capacity.planner.single import Priced, choose, likely, priced, sharpened

SAFE = 1e-7
"""The share by which a bound is lowered: solvers are as exact as their tolerances."""
CLOSE = 0.001
"""A model is not searched further where all together would be as near their bounds as it is."""

NODES = 100
"""How many branches are looked at for a model, or for two."""

OPTIONS = 25_000
"""How many options (models x supplies) are one linear program at most."""


class Planner:
    """Plans for problems that change a little from one to the next: what it learned of one serves for the next."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self.clock = clock
        self.problem = Problem(supplies=(), demands=(), profiles=(), rtt={})
        self.parts = dict[str, ModelPart]()
        self.duals = dict[str, Array]()
        self.replicas = dict[str, Array]()
        self.routed = dict[str, Routed]()
        self.prices = dict[str, float]()
        self._bounds = dict[str, float]()
        self.close = CLOSE

    def solve(self, problem: Problem, seconds: float = 10.0) -> Plan:
        """A plan from nothing but the problem."""
        self._open(problem, seconds)
        self._relax()
        for close in (2 * CLOSE, CLOSE):
            self._pass(close)
        self._fill(rest=0.6 * seconds)
        self._improve(rest=(0.3 if self.shared else 0.03) * seconds)
        self._fill(rest=0.0)
        return self._close()

    def replan(self, problem: Problem, seconds: float = 0.2) -> Plan:
        """A plan from the last one, whose models are left where they are unless something changed for them."""
        before, held, routed = self.parts, self.replicas, dict(self.routed)
        self._open(problem, seconds)
        self.tolls = np.array([self.prices.get(each.id, 0.0) for each in problem.supplies])
        new = {model for model, part in self.parts.items() if not _same(before.get(model), part)}
        for model, part in self.parts.items():
            self._set(model, part, self._alone(part) if model in new else self.duals[model])
        self.replicas = {model: _moved(before.get(model), held.get(model), part) for model, part in self.parts.items()}
        over = self.quota - self._used() < -1e-6
        for model, part in self.parts.items():
            gone = over[part.supply] & (self.replicas[model] > 0)
            short = before.get(model) is not None and float(held[model].sum()) > float(self.replicas[model].sum())
            if bool(gone.any()) or short:
                new.add(model)
                self.replicas[model] = np.where(gone, 0.0, self.replicas[model])
        for model in self.parts.keys() & routed.keys() - new:
            self.routed[model] = again(self.parts[model], self.replicas[model], routed[model])
        changed, self.close = sorted(new), 5 * CLOSE
        for tolls in (self.tolls, np.zeros(len(self.quota))):
            for model in sorted(changed, key=self._loss, reverse=True):
                if self._loss(model) > self._slack():
                    self._again([model], tolls, count=2, nodes=10)
        self._improve(rest=0.03 * seconds, lacks=_lacks(routed.values()) + 0.01)
        return self._close()

    def _open(self, problem: Problem, seconds: float) -> None:
        self.begun, last = self.clock(), self.problem
        self.seconds, self.sites = seconds, Sites(problem)
        self.quota: Array = self.sites.quota
        self.unit = np.array([float(each.rented) for each in problem.supplies])
        self.price = np.array([each.price / each.count for each in problem.supplies])
        self.shared = bool((self.unit > 1).any()) or any(each.slice for each in problem.profiles)
        self.parts = {part.model: part for part in parts(problem, last, self.parts)}
        self.problem = problem
        self.ones, self._bounds = dict[str, Priced](), dict[str, float]()
        self.routed = dict[str, Routed]()

    def _left(self) -> float:
        return self.seconds - (self.clock() - self.begun)

    def _relax(self, whole: bool = True) -> None:
        """Prices of the GPUs, by the linear program; and its replicas, made whole. Models that are too many for one
        program are dealt out to several, each with its share of the machines; the prices they find are averaged."""
        self.tolls, left = np.zeros(len(self.quota)), self.quota.copy()
        self.replicas = {model: np.zeros(len(part.cost)) for model, part in self.parts.items()}
        hands, known = deal(list(self.parts.values())), dict[str, Array]()
        random, before = np.random.default_rng(0), 0.0
        for weight, hand in hands:
            luck = random.random(len(left)) if len(hands) > 1 else 0.0
            share, before = weight / (1.0 - before), before + weight
            machines = np.floor(left / self.unit * min(1.0, share) + luck + 1e-9)
            given = np.minimum(machines * self.unit, left)
            program = Program(hand, given)
            solved = program.solve(max(self.seconds, 60.0), solver="simplex")
            if not solved.done:
                continue
            self.tolls[program.supplies] += weight * solved.prices
            known |= dict(zip((part.model for part in hand), solved.duals, strict=True))
            if whole:
                chosen = program.dive(given, max(self.seconds, 60.0))
                self.replicas |= dict(zip((part.model for part in hand), chosen, strict=True))
                left = self.quota - self._used()
        for model, part in self.parts.items():
            if len(hands) > 1 or model not in known:
                known[model] = self._alone(part)
            self._set(model, part, known[model])
        self.prices = {each.id: float(toll) for each, toll in zip(self.problem.supplies, self.tolls, strict=True)}

    def _alone(self, part: ModelPart) -> Array:
        """Duals of a model that has changed, at the prices there are."""
        made = block(part)
        cost = priced(part, made, self.tolls, np.zeros(len(made.floor))).cost
        solved = Program([part], None, costs=[cost]).solve(5.0)
        return solved.duals[0] if solved.done else np.zeros(len(made.floor))

    def _set(self, model: str, part: ModelPart, duals: Array) -> None:
        self.duals[model] = duals
        self.ones[model] = priced(part, block(part), self.tolls, duals)
        self._bounds[model] = self.ones[model].bound

    def _used(self, but: tuple[str, ...] = ()) -> Array:
        """GPUs, by supply."""
        used = np.zeros(len(self.quota))
        for model, replicas in self.replicas.items():
            if model not in but:
                np.add.at(used, self.parts[model].supply, replicas * self.parts[model].gpus)
        return used

    def _again(self, models: list[str], tolls: Array, count: int, nodes: int, paid: Array | float = 0.0) -> bool:
        """Choose the replicas of some models anew, among what the others leave, as if so much of the price of GPUs was
        `paid` already; whether that was worth it."""
        left = self.quota - self._used(tuple(models))
        left = np.maximum(left, 0.0)
        some = [self.ones[model] for model in models]
        held = [self.replicas[model] for model in models]
        keep = [likely(one, left, count, mine) for one, mine in zip(some, held, strict=True)]
        found = choose(some, keep, tolls - paid, left, held, max(self._left(), 0.1), self._slack() * len(models), nodes)
        if found is None:
            return False
        unused = float(self._unused().sum())
        before = unused + sum(self._route(model).cost + self._toll(model, tolls) for model in models)
        before_that = {model: (self.replicas[model], self.routed.pop(model)) for model in models}
        for model, replicas in zip(models, found, strict=True):
            self.replicas[model] = replicas
        after = sum(self._route(model).cost + self._toll(model, tolls) for model in models)
        after += float(self._unused().sum())
        if after < before - 1e-9:
            return True
        for model, (replicas, routed) in before_that.items():
            self.replicas[model], self.routed[model] = replicas, routed
        return False

    def _unused(self) -> Array:
        """By supply, what is paid for GPUs of rented machines that no replica takes."""
        if not self.shared:
            return np.zeros(len(self.unit))
        used = self._used()
        return (self._rented(used) - used).clip(0.0) * self.price

    def _rented(self, used: Array) -> Array:
        """By supply, the GPUs that are rented for those that are used."""
        return np.ceil(used / self.unit - 1e-6) * self.unit

    def _total(self) -> float:
        """What all models cost, with what is paid for and not used."""
        return sum(self._route(model).cost for model in self.parts) + float(self._unused().sum())

    def _fill(self, rest: float) -> None:
        """Give up the last machine of a supply, that with the most unused first, where those that are rented elsewhere
        have room for what it serves, or it costs less elsewhere."""
        tried = set[int]()
        while self._left() > rest:
            unused = self._unused()
            worst = [at for at in np.argsort(-unused, kind="stable").tolist() if unused[at] > 0 and at not in tried]
            if not worst:
                return
            tried.add(worst[0])
            if any(self._give_up(worst[0], opened) for opened in (True, False)) or self._fill_up(worst[0]):
                tried.clear()

    def _give_up(self, supply: int, opened: bool) -> bool:
        """One machine less of a supply, and none more of the others if only those `opened` are to be used; whether all
        costs less then."""
        quota, before, rented = self.quota, self._total(), self._rented(self._used())
        held, routed = dict(self.replicas), dict(self.routed)
        self.quota = np.minimum(quota, rented) if opened else quota.copy()
        self.quota[supply] = rented[supply] - self.unit[supply]
        users = [model for model, part in self.parts.items() if self.replicas[model][part.supply == supply].any()]
        for model in sorted(users, key=lambda model: self._there(model, supply)):
            if self._used()[supply] <= self.quota[supply] + 1e-6:
                break
            here = self.parts[model].supply == supply
            self.replicas[model] = np.where(here, 0.0, self.replicas[model])
            self.routed.pop(model)
            self._again([model], np.zeros(len(quota)), count=3, nodes=NODES)
        self.quota = quota
        if self._total() < before - 1e-9:
            return True
        self.replicas, self.routed = held, routed
        return False

    def _fill_up(self, supply: int) -> bool:
        """Move models to what is rented and not used; whether any was."""
        quota, paid = self.quota, np.zeros(len(self.quota))
        paid[supply] = 0.9 * self.price[supply]  # were it all of it, they would take more than they need
        self.quota = quota.copy()
        self.quota[supply] = self._rented(self._used())[supply]
        moved = False
        for model in sorted(self.parts, key=self._loss, reverse=True):
            if self._left() > 0 and supply in self.parts[model].supply:
                moved |= self._again([model], np.zeros(len(quota)), count=3, nodes=NODES, paid=paid)
        self.quota = quota
        return moved

    def _there(self, model: str, supply: int) -> float:
        """GPUs of a supply that a model takes."""
        part = self.parts[model]
        return float((self.replicas[model] * part.gpus)[part.supply == supply].sum())

    def _toll(self, model: str, tolls: Array) -> float:
        part = self.parts[model]
        return float(self.replicas[model] * part.gpus @ tolls[part.supply])

    def _route(self, model: str) -> Routed:
        if model not in self.routed:
            self.routed[model] = route(self.parts[model], self.replicas[model])
        return self.routed[model]

    def _loss(self, model: str) -> float:
        """How much more than it must a model pays, at most."""
        return self._route(model).cost + self._toll(model, self.tolls) - self._bounds[model]

    def _bound(self) -> float:
        return sum(self._bounds.values()) - float(self.tolls @ self.sites.gpus)

    def _pass(self, close: float) -> None:
        """Models by themselves, those first that lose most."""
        self.close, free = close, np.zeros(len(self.quota))
        for model in sorted(self.ones, key=self._loss, reverse=True):
            if self._left() > 0 and self._loss(model) > self._slack():
                self._again([model], free, count=3, nodes=NODES)

    def _improve(self, rest: float, lacks: float = -1.0) -> None:
        """Models in pairs, those first that lose most; in turn their bounds are sharpened. Until no more than `lacks`
        counts for what is not served."""
        free, turn = np.zeros(len(self.quota)), 0
        random = np.random.default_rng(0)
        while self._left() > rest and turn < 20 * len(self.ones):
            cost = sum(self._route(model).cost for model in self.ones)
            if cost - self._bound() < CLOSE * cost or _lacks(map(self._route, self.ones)) <= lacks:
                return
            models = sorted(self.ones, key=self._loss, reverse=True)[: max(2, len(self.ones) // 2)]
            first, second = models[turn // 2 % len(models)], str(random.choice(models))
            if turn % 2:
                self._sharpen(first)
            else:
                self._again(list({first, second}), free, count=3, nodes=NODES)
            turn += 1

    def _slack(self) -> float:
        """What a model may lose before it is worth a look."""
        return self.close * abs(self._bound()) / max(1, len(self.ones))

    def _sharpen(self, model: str) -> None:
        loss = self._loss(model)
        if loss > self._slack():
            bound = sharpened(self.ones[model], self.tolls, loss, max(self._left(), 0.05), 20)
            self._bounds[model] = max(self._bounds[model], bound)

    def _close(self) -> Plan:
        routed = {model: self._route(model) for model in self.parts}
        names = Costs.__struct_fields__
        sums = {name: float(sum(getattr(each.costs, name) for each in routed.values())) for name in names}
        bound = self._bound()
        replicas = dict[Placement, int]()
        for model, chosen in self.replicas.items():
            placed = self.parts[model].placement
            replicas |= {placed[at]: int(chosen[at]) for at in np.flatnonzero(chosen > 0)}
        rented = rent(self.problem, replicas)
        sums["machines"] = sum(each.hourly for each in rented.values())
        flows, unserved = dict[tuple[int, str, str], float](), dict[int, float]()
        for each in routed.values():
            flows |= each.flows
            unserved |= each.unserved
        return Plan(
            replicas=replicas,
            flows=flows,
            unserved=unserved,
            costs=Costs(**sums),
            bound=max(0.0, bound - SAFE * abs(bound)),
            prices=self.prices,
            rented=rented,
            seconds=self.clock() - self.begun,
        )


def solve(problem: Problem, *, seconds: float = 10.0, running: Mapping[Placement, int] | None = None) -> Plan:
    """The best plan that is found within so many seconds, or later if there is none that serves before; `running`:
    instead of the problem's."""
    if running is not None:
        problem = msgspec.structs.replace(problem, running=dict(running))
    return Planner().solve(problem, seconds)


def bound(problem: Problem) -> float:
    """What every plan costs at least."""
    planner = Planner()
    planner._open(problem, 60.0)  # pyright: ignore[reportPrivateUsage]
    planner._relax(whole=False)  # pyright: ignore[reportPrivateUsage]
    found = planner._bound()  # pyright: ignore[reportPrivateUsage]
    return max(0.0, found - SAFE * abs(found))


def _lacks(every: Iterable[Routed]) -> float:
    """What counts for what is not served, or short."""
    return sum(each.costs.unserved + each.costs.reserve for each in every)


def deal(every: list[ModelPart]) -> list[tuple[float, list[ModelPart]]]:
    """Models in hands of at most `OPTIONS`, about as heavy as each other; with the share of the whole each weighs."""
    count = -(-sum(len(part.cost) for part in every) // OPTIONS)
    weights = {part.model: _weight(part) for part in every}
    hands = [(0.0, list[ModelPart]()) for _ in range(max(1, min(count, len(every))))]
    for part in sorted(every, key=lambda part: weights[part.model], reverse=True):
        at = min(range(len(hands)), key=lambda at: hands[at][0])
        hands[at][1].append(part)
        hands[at] = (hands[at][0] + weights[part.model], hands[at][1])
    total = sum(weights.values())
    return [(weight / total if total > 0 else 1 / len(hands), hand) for weight, hand in hands]


def _weight(part: ModelPart) -> float:
    """What a model costs where each of its classes has the cheapest replicas."""
    cheapest, least = np.full(part.groups, np.inf), np.full(len(part.rate), np.inf)
    np.minimum.at(cheapest, part.group, part.cost)
    np.minimum.at(least, part.flow_class, part.load * cheapest[part.flow_group])
    return float(least[np.isfinite(least)].sum())


def _moved(before: ModelPart | None, replicas: Array | None, part: ModelPart) -> Array:
    """Replicas by the options that a model has now."""
    if before is None or replicas is None:
        return np.zeros(len(part.cost))
    if before.placement == part.placement:
        return np.minimum(replicas, part.most)
    held = dict(zip(before.placement, replicas.tolist(), strict=True))
    return np.minimum(np.array([held.get(each, 0.0) for each in part.placement]), part.most)


def _same(before: ModelPart | None, part: ModelPart) -> bool:
    """Whether a plan of the one is as good for the other."""
    return (
        before is not None
        and (before.placement, before.demands, before.rates) == (part.placement, part.demands, part.rates)
        and all(
            np.array_equal(getattr(before, name), getattr(part, name))
            for name in (
                "rate",
                "lost",
                "cost",
                "start",
                "flow_class",
                "flow_group",
                "load",
                "network",
                "cells",
                "rules",
                "short",
            )
        )
    )
