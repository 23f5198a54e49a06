"""How many rows an engine call should have: learned, from what calls of each size have cost. Pure.

More rows a call is not always better: beyond the size that fits the caches a CPU network costs more per row (magika:
3.6 ms at 4 rows, 4.5 at 32). Sizes are powers of two; each is tried when the queue first allows it, then the cheapest
is used.
"""

import msgspec

TRIES = 3
"""Calls a size gets each time it is tried."""
PATIENCE = (32, 1024)
"""Calls until the sizes next to the best are tried again: doubled from the first to the second, since early figures are
the least certain, and machines and their other tenants change."""
MARGIN = 1.03
"""A larger size is preferred unless it costs this much more per row: fewer calls, and callers wait less."""


class Cost(msgspec.Struct, frozen=True, gc=False):
    """What is known of one size: its calls so far, their mean ns per row, and the tries it is still due."""

    calls: int = 0
    ns: float = 0.0
    due: int = TRIES


class Sizing(msgspec.Struct, frozen=True, gc=False):
    """Costs by size (1, 2, 4, … rows), the calls since neighbours were last tried, and how many to wait for that."""

    costs: tuple[Cost, ...]
    calls: int = 0
    patience: int = PATIENCE[0]


def begin(limit: int) -> Sizing:
    """Nothing known, for batches of at most `limit` rows."""
    return Sizing((Cost(),) * ((limit - 1).bit_length() + 1))


def choose(queued: int, limit: int, state: Sizing) -> int:
    """The most rows the next call should have, at most `limit`, when `queued` rows wait."""
    reach = min(max(queued, 1), limit).bit_length()
    known = state.costs[:reach]
    for position, cost in enumerate(known):
        if cost.due:
            return min(1 << position, limit)
    best = min(cost.ns for cost in known)
    position = max(position for position, cost in enumerate(known) if cost.ns <= best * MARGIN)
    return limit if position == reach - 1 else 1 << position


def observe(rows: int, ns: int, state: Sizing) -> Sizing:
    """The state after a call of `rows` rows that took `ns`: a running mean, which a single odd call moves by an eighth.

    Calls between two sizes count for neither.
    """
    costs = list(state.costs)
    position = (rows - 1).bit_length()
    if rows == 1 << position and position < len(costs):
        old = costs[position]
        mean = old.ns + (ns / rows - old.ns) * max(1 / (old.calls + 1), 1 / 8)
        costs[position] = Cost(old.calls + 1, mean, max(old.due - 1, 0))
    if state.calls + 1 < state.patience:
        return Sizing(tuple(costs), state.calls + 1, state.patience)
    best = min(range(len(costs)), key=lambda size: costs[size].ns if costs[size].calls else float("inf"))
    for neighbour in (best - 1, best + 1):
        if 0 <= neighbour < len(costs):
            costs[neighbour] = Cost(costs[neighbour].calls, costs[neighbour].ns, TRIES)
    return Sizing(tuple(costs), 0, min(2 * state.patience, PATIENCE[1]))
