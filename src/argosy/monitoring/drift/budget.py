"""How one false alarm of a model in a quarter is shared among all that is looked at.

Each part has evidence of its own, and alarms where that reaches the run length of its share. The parts' evidence,
weighted by their shares, is at least the model's run length then; so the model's first false alarm comes no sooner, on
average, than if all were watched as one (`detector`).
"""

from typing import Literal

Part = Literal["columns", "segments", "rows"]

QUARTER = 90 * 86400
"""Seconds between two false alarms of one model, at least, on average."""

SHARES: dict[Part, float] = {"columns": 0.8, "segments": 0.1, "rows": 0.1}
"""Of the budget: all rows column by column, segments column by column, and whole rows. A tenth of the budget costs
evidence of a factor of ten, which a window of some more rows gives."""


def run_length(part: Part, every: float, of: int = 1) -> float:
    """In looks `every` so many seconds, for one of `of` equal pieces of a part."""
    return QUARTER / every / SHARES[part] * max(of, 1)
