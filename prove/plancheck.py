"""Whether a plan is what it says: computed anew from the problem, with nothing of what made the plan."""

from collections import Counter, defaultdict
from collections.abc import Iterator

from argosy.capacity.planner.problem import Costs, Demand, Plan, Problem, Profile, Rented, Supply
from argosy.capacity.slices import arrange

TOLERANCE = 1e-5


def check(problem: Problem, plan: Plan) -> list[str]:
    """What is wrong with a plan; empty if nothing is."""
    return [*Check(problem, plan).faults()]


class Check:
    """One plan beside its problem."""

    def __init__(self, problem: Problem, plan: Plan) -> None:
        self.problem, self.plan = problem, plan
        self.supplies = {each.id: each for each in problem.supplies}
        self.profiles = {(each.model, each.variant, each.gpu): each for each in problem.profiles}

    def faults(self) -> Iterator[str]:
        unknown = [each for each in self.plan.replicas if self.found(*each) is None]
        unknown += [each for each in self._routes() if self.found(*each) is None]
        if unknown:
            yield from (f"{placement} names no supply with a profile" for placement in unknown)
            return
        yield from self._machines()
        yield from self._capacity()
        yield from self._demand()
        costs = self._costs()
        for name in Costs.__struct_fields__:
            mine, theirs = getattr(costs, name), getattr(self.plan.costs, name)
            if abs(mine - theirs) > TOLERANCE * max(1.0, costs.total):
                yield f"{name} costs {mine:.6g}, not {theirs:.6g}"
        if self.plan.bound > self.plan.cost * (1 + 1e-9) + 1e-9:
            yield f"the bound {self.plan.bound:.6g} is above the cost {self.plan.cost:.6g}"

    def found(self, model: str, variant: str, supply: str) -> tuple[Profile, Supply] | None:
        """The profile and the supply of a placement."""
        if supply not in self.supplies:
            return None
        place = self.supplies[supply]
        profile = self.profiles.get((model, variant, place.gpu))
        return None if profile is None or profile.gpus > place.count else (profile, place)

    def _routes(self) -> set[tuple[str, str, str]]:
        """The placements that requests are sent to."""
        return {(self.problem.demands[at].model, variant, supply) for at, variant, supply in self.plan.flows}

    def _machines(self) -> Iterator[str]:
        used, slices = defaultdict[str, int](int), defaultdict[str, Counter[str]](Counter)
        for placement, count in self.plan.replicas.items():
            found = self.found(*placement)
            assert found is not None
            if found[0].slice:
                slices[placement[2]][found[0].slice] += count
            else:
                used[placement[2]] += count * found[0].gpus
            if count < 0 or count != int(count):
                yield f"{placement} has {count} replicas"
        for name in {*used, *slices}:
            supply, rented = self.supplies[name], self.plan.rented.get(name, Rented(count=0, hourly=0.0, unused=0.0))
            there, cuts = rented.count * (supply.count if supply.unit == "machine" else 1), Counter[str]()
            for cut, count in rented.cuts:
                cuts.update({each: count * cut.count(each) for each in cut})
                if arrange(supply.gpu, cut) is None:
                    yield f"{name} cannot be cut as {', '.join(cut)}"
            if slices[name] - cuts:
                yield f"{name} is not cut into {slices[name] - cuts}"
            if there > supply.gpus:
                yield f"{name} has {supply.gpus} GPUs, the plan rents {there}"
            if used[name] + sum(count for _, count in rented.cuts) > there:
                yield f"{there} GPUs of {name} have no room for {used[name]} and {rented.cuts}"

    def _capacity(self) -> Iterator[str]:
        work = defaultdict[tuple[str, str, str], float](float)
        for (at, variant, supply), rate in self.plan.flows.items():
            demand = self.problem.demands[at]
            found = self.found(demand.model, variant, supply)
            assert found is not None
            if rate < -TOLERANCE or not self.may(demand, *found):
                yield f"{rate:.6g}/s of demand {at} are sent to {supply}, which may not serve it"
            work[demand.model, variant, supply] += rate / found[0].rates.get(demand.bucket, 1e-12)
        for placement, needed in work.items():
            if needed > self.plan.replicas.get(placement, 0) * (1 + TOLERANCE) + TOLERANCE:
                yield f"{placement} is sent what takes {needed:.6g} replicas"

    def may(self, demand: Demand, profile: Profile, supply: Supply) -> bool:
        """Whether a demand can be served there in time, and is allowed to be."""
        rtt = self.problem.rtt.get(demand.area, {}).get(supply.region)
        if rtt is None or demand.bucket not in profile.rates:
            return False
        allowed = (not demand.regions or supply.region in demand.regions) and (supply.trusted or demand.untrusted)
        return allowed and profile.latency.get(demand.bucket, 0.0) <= demand.slo - rtt

    def rate(self, demand: Demand) -> float:
        """With headroom."""
        return demand.rate * (1 + self.problem.headroom)

    def _demand(self) -> Iterator[str]:
        served = defaultdict[int, float](float)
        for (at, _, _), rate in self.plan.flows.items():
            served[at] += rate
        for at, demand in enumerate(self.problem.demands):
            missed = self.plan.unserved.get(at, 0.0)
            wanted = self.rate(demand)
            if missed < 0 or abs(served[at] + missed - wanted) > TOLERANCE * max(1.0, wanted):
                yield f"of {wanted:.6g}/s of demand {at}, {served[at]:.6g} are served and {missed:.6g} are not"

    def _costs(self) -> Costs:
        starts = network = 0.0
        rented = [(self.supplies[name], each.count) for name, each in self.plan.rented.items()]
        machines = sum(s.price * n / (1 if s.unit == "machine" else s.count) for s, n in rented)
        for placement, count in self.plan.replicas.items():
            found = self.found(*placement)
            assert found is not None
            profile, supply = found
            price = supply.price * profile.part(supply)
            weights = profile.weights / 1e9 * self.problem.transfer.get(supply.region, 0.0)
            started = max(0, count - self.problem.running.get(placement, 0))
            starts += started * (price * profile.start / 3600 + weights) / self.problem.horizon
        for (at, _, supply), rate in self.plan.flows.items():
            egress = self.problem.egress.get(self.supplies[supply].region, 0.0)
            network += rate * self.problem.demands[at].sent * 3600 / 1e9 * egress
        unserved = sum(rate * self.problem.demands[at].penalty * 3600 for at, rate in self.plan.unserved.items())
        return Costs(machines=machines, starts=starts, network=network, unserved=unserved, reserve=self._reserve())

    def _reserve(self) -> float:
        """What counts for the capacity that a loss leaves short."""
        missing = 0.0
        by_model = defaultdict[str, list[Demand]](list)
        for demand in self.problem.demands:
            if demand.rate > 0:
                by_model[demand.model].append(demand)
        for model, demands in by_model.items():
            scopes = {each.regions for each in demands}
            missing += self._short(model, demands, demands)
            if len(scopes) > 1:
                missing += sum(self._short(model, [d for d in demands if d.regions == one], demands) for one in scopes)
        return missing

    def _short(self, model: str, demands: list[Demand], every: list[Demand]) -> float:
        asked = sum(map(self.rate, demands))
        penalty = sum(self.rate(each) * each.penalty for each in demands) * 3600
        domains, gives = set[str](), list[tuple[Supply, float]]()
        for profile in (each for each in self.problem.profiles if each.model == model):
            for supply in self.problem.supplies:
                if supply.gpu != profile.gpu or profile.gpus > supply.count:
                    continue
                if any(self.may(each, profile, supply) for each in every):
                    domains.add(supply.fails)
                count = self.plan.replicas.get((model, profile.variant, supply.id), 0)
                able = [each for each in demands if self.may(each, profile, supply)]
                if count and able:
                    work = sum(self.rate(each) / profile.rates[each.bucket] for each in able)
                    gives.append((supply, count * sum(map(self.rate, able)) / work))
        short, floor = 0.0, self.problem.loss_floor
        for domain in domains if floor > 0 else ():
            left = sum(rate for supply, rate in gives if supply.fails != domain)
            short += max(0.0, 1 - left / (floor * asked)) * floor * penalty
        if (kept := 1 - self.problem.spot_share) > 0:
            left = sum(rate for supply, rate in gives if supply.market != "spot")
            short += max(0.0, 1 - left / (kept * asked)) * kept * penalty
        return short
