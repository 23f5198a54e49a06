"""What stands behind a finding: the rows of reference and window in the same bins, few enough to be drawn. Pure."""

import math
from collections.abc import Sequence

import msgspec

from argosy.monitoring.drift.geometry import ordered
from argosy.profiles.cells import EXTRA, Column, Floats
from argosy.spec.foreign import printable

MOST = 30
LONGEST = 40


class Distribution(msgspec.Struct, frozen=True, kw_only=True):
    """Counts of rows, in bins that have a name each; at most 30."""

    labels: tuple[str, ...]
    reference: tuple[int, ...]
    current: tuple[int, ...]


def distribution(
    column: Column, reference: Floats, current: Floats, *, closed: bool = False, most: int = MOST
) -> Distribution | None:
    """From counts in the column's cells; None without rows on both sides.

    Numbers go from left to right, neighbours put together where there are more than `most`; of categories the most
    frequent stand first, and the rest are one bin. Cells apart (missing, unseen) are there if they have rows. A
    `closed` column shows how many rows its bins have, and not what lies in them.
    """
    if reference[: column.cells].sum() < 1 or current[: column.cells].sum() < 1:
        return None
    groups = _numbers(column, most) if column.kind == "numbers" else _categories(column, reference + current, most)
    bins = [(name, reference[cells].sum(), current[cells].sum(), own) for name, cells, own in groups]
    bins = [each for each in bins if each[3] or each[1] or each[2]]
    names = [f"bin {place + 1}" if own else name.split()[0] for place, (name, *_, own) in enumerate(bins)]
    return Distribution(
        labels=tuple(names if closed else (name for name, *_ in bins)),
        reference=tuple(round(float(before)) for _, before, _, _ in bins),
        current=tuple(round(float(now)) for _, _, now, _ in bins),
    )


Group = tuple[str, list[int], bool]
"""A bin's name, its cells, and whether it is one of the reference's own."""


def _numbers(column: Column, most: int) -> list[Group]:
    below, *inner, above = ordered(column)
    edges = spelled(column.edges)
    width = math.ceil(len(inner) / max(most - EXTRA["numbers"], 1))
    groups: list[Group] = []
    for start in range(0, len(inner), width):
        cells = inner[start : start + width]
        name = f"{edges[start]} to {edges[start + len(cells)]}" if len(edges) > 1 else column.label(0)
        one = len(cells) == 1 and len(edges) > 1 and column.single(start)
        groups.append((edges[start] if one else name, cells, True))
    if edges:
        groups = [(f"below {edges[0]}", [below], False), *groups, (f"above {edges[-1]}", [above], False)]
    return [*groups, *((column.label(cell), [cell], False) for cell in (column.cells - 2, column.cells - 1))]


def spelled(edges: Sequence[float]) -> list[str]:
    """With as few digits as distinguish them, and four at least."""
    for digits in range(4, 17):
        texts = [_plain(f"{edge:.{digits}g}") for edge in edges]
        if len(set(texts)) == len(set(edges)):
            return texts
    return [repr(edge) for edge in edges]


def _plain(text: str) -> str:
    """Without an exponent, where few digits do."""
    value = float(text)
    return f"{value:,.0f}" if "e+" in text and abs(value) < 1e15 else text


def _categories(column: Column, both: Floats, most: int) -> list[Group]:
    ranked = sorted(range(column.inner), key=lambda cell: (-both[cell], cell))
    space = most - EXTRA["categories"]
    shown = ranked if len(ranked) <= space else ranked[: space - 1]
    rest = ranked[len(shown) :]
    groups: list[Group] = [(readable(column.known[cell]), [cell], True) for cell in shown]
    if rest:
        groups.append((f"{len(rest)} others", rest, True))
    unseen = "unseen" if column.complete else "unlisted"
    return [*groups, (unseen, [column.cells - 2], False), ("missing", [column.cells - 1], False)]


def readable(text: str, longest: int = LONGEST) -> str:
    """Printable, and no longer than that."""
    plain = printable(text[: longest + 1], "?")
    return plain if len(plain) <= longest else plain[: longest - 1] + "…"
