"""Work with a deadline on spot capacity, replayed: what a policy pays for it, and whether it is done in time.

A trace says for each tick in which zones capacity is to be had. What runs where there is none has been lost, with what
was left of its changeover; work that is done stays done. Wherever something starts, the changeover is paid and does
nothing.
"""

from collections.abc import Callable, Iterator

import msgspec
import numpy as np

from argosy.capacity.deadline import DeadlineDecision, DeadlineJob, DeadlineObservation, begin, decide
from argosy.spec.errors import InvalidArgument
from argosy_simulators.spot import SpotTrace, Ticks, zones

Policy = Callable[[DeadlineObservation], DeadlineDecision]
Maker = Callable[[DeadlineJob], Policy]
NOWHERE = DeadlineDecision(run=None, reason="")
DEMAND = DeadlineDecision(run=-1, reason="")


class DeadlineRun(msgspec.Struct, frozen=True, kw_only=True):
    """`cost` in prices times hours, as a share of the work on demand; `demand`: the share of the work that was done
    there; `starts` anywhere; `late`: seconds after the deadline."""

    cost: float
    demand: float
    starts: int
    late: float


def replay(up: Ticks, job: DeadlineJob, policy: Policy) -> DeadlineRun:
    """A policy on the ticks of a trace, from its beginning."""
    elapsed = done = left = paid = bought = 0.0
    running: int | None = None
    starts = 0
    for seen in up.T.tolist():
        if running is not None and running >= 0 and not seen[running]:
            running, left = None, 0.0
        run = policy(DeadlineObservation(elapsed=elapsed, done=done, running=running, left=left, up=tuple(seen))).run
        if run is not None and run >= 0 and not seen[run]:
            run = None
        if run != running:
            running, left = run, 0.0 if run is None else job.changeover
            starts += run is not None
        if running is None:
            elapsed += job.tick
            continue
        lost = min(left, job.tick)
        works = min(job.tick - lost, job.work - done)
        left, done = left - lost, done + works
        elapsed += lost + works
        paid += (lost + works) / 3600 * (job.on_demand if running == -1 else job.markets[running].price)
        bought += works if running == -1 else 0.0
        if done >= job.work - 1e-6:
            break
    late = max(0.0, elapsed - job.deadline) + (job.work - done)
    whole = job.work / 3600 * job.on_demand
    return DeadlineRun(cost=paid / whole, demand=bought / job.work, starts=starts, late=late if late > 1e-6 else 0.0)


def bound(up: Ticks, job: DeadlineJob) -> float:
    """What nobody can undercut: changeovers are free, and the future is known."""
    ticks = int(job.deadline / job.tick) + 1
    spot = min(job.work, float(np.count_nonzero(np.logical_or.reduce(up[:, :ticks], axis=0))) * job.tick)
    price = min(market.price for market in job.markets) / job.on_demand
    return (price * spot + job.work - spot) / job.work


def ours(job: DeadlineJob) -> Policy:
    """The policy, with what it remembers."""
    state = begin(job)

    def policy(seen: DeadlineObservation) -> DeadlineDecision:
        nonlocal state
        decision, state = decide(job, seen, state)
        return decision

    return policy


def _safe(job: DeadlineJob, seen: DeadlineObservation) -> bool:
    """Whether a tick may be lost and on demand still meets the deadline."""
    slack = (job.deadline - seen.elapsed) - (job.work - seen.done)
    return slack - seen.left >= job.changeover + job.tick


def uniform(job: DeadlineJob) -> Policy:
    """Uniform Progress, of "Can't be late" (NSDI 2024): spot where there is any; without it on demand behind the line
    from nothing to all of the work, nothing ahead of it; from on demand back to spot two changeovers ahead of it. With
    several markets, the first one that has capacity."""

    def policy(seen: DeadlineObservation) -> DeadlineDecision:
        if not _safe(job, seen):
            return DEMAND
        ahead = seen.done - seen.elapsed * job.work / job.deadline
        if seen.running is not None and seen.running >= 0:
            return DeadlineDecision(run=seen.running, reason="")
        if any(seen.up) and (seen.running is None or ahead >= 2 * job.changeover):
            return DeadlineDecision(run=seen.up.index(True), reason="")
        return DEMAND if ahead < 0 or (seen.running == -1 and any(seen.up)) else NOWHERE

    return policy


def greedy(job: DeadlineJob) -> Policy:
    """Spot where there is any, else nothing, until on demand is the only way left."""

    def policy(seen: DeadlineObservation) -> DeadlineDecision:
        if not _safe(job, seen):
            return DEMAND
        if seen.running is not None and seen.running >= 0:
            return DeadlineDecision(run=seen.running, reason="")
        return DeadlineDecision(run=seen.up.index(True), reason="") if any(seen.up) else NOWHERE

    return policy


POLICIES: dict[str, Maker] = {"argosy": ours, "uniform progress": uniform, "greedy": greedy}


class Line(msgspec.Struct, frozen=True, kw_only=True):
    """A policy over all windows: means, and how many missed their deadline."""

    policy: str
    cost: float
    demand: float
    starts: float
    missed: int


class Windows(msgspec.Struct, frozen=True, kw_only=True):
    """Policies beside each other, over as many windows."""

    windows: int
    bound: float
    lines: tuple[Line, ...]

    def cost(self, policy: str) -> float:
        """Of one of them."""
        return next(line.cost for line in self.lines if line.policy == policy)


def job(trace: SpotTrace, *, work: float, deadline: float, changeover: float, price: float) -> DeadlineJob:
    """A job of `work` hours, in markets of one price. Raises InvalidArgument."""
    if not 0 < work <= deadline - changeover or changeover < 0:
        raise InvalidArgument(f"{work:g} hours of work and a changeover of {changeover:g} do not fit into {deadline:g}")
    return DeadlineJob(
        markets=zones(trace, price),
        work=work * 3600,
        deadline=deadline * 3600,
        changeover=changeover * 3600,
        tick=trace.seconds,
        on_demand=1.0,
    )


def windows(trace: SpotTrace, of: DeadlineJob, count: int) -> Iterator[Ticks]:
    """So many stretches of the trace, evenly spread, each as long as the deadline. Raises InvalidArgument."""
    long = int(of.deadline / trace.seconds) + 1
    last = trace.up.shape[1] - long
    if last < 0:
        raise InvalidArgument(
            f"the trace is {trace.up.shape[1] * trace.seconds / 3600:.0f} hours, less than the deadline"
        )
    for nth in range(count):
        start = round(last * nth / max(1, count - 1))
        yield trace.up[:, start : start + long]


def compare(trace: SpotTrace, of: DeadlineJob, count: int, *, alone: bool) -> Windows:
    """All policies over the windows of a trace; `alone`: each zone by itself, else all of them at once."""
    stretches = list(windows(trace, of, count))
    if alone:
        jobs = [msgspec.structs.replace(of, markets=(market,)) for market in of.markets]
        pairs = [(one, up[at : at + 1]) for up in stretches for at, one in enumerate(jobs)]
    else:
        pairs = [(of, up) for up in stretches]
    lines = list[Line]()
    for name, make in POLICIES.items():
        runs = [replay(up, one, make(one)) for one, up in pairs]
        lines.append(
            Line(
                policy=name,
                cost=sum(run.cost for run in runs) / len(runs),
                demand=sum(run.demand for run in runs) / len(runs),
                starts=sum(run.starts for run in runs) / len(runs),
                missed=sum(run.late > 0 for run in runs),
            )
        )
    least = sum(bound(up, one) for one, up in pairs) / len(pairs)
    return Windows(windows=len(pairs), bound=least, lines=tuple(lines))
