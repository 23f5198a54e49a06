"""How long the controller's passes took, counted."""

from bisect import bisect_left

BOUNDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0)
"""Upper bounds, in seconds."""


class Passes:
    """Counts since the start of the controller."""

    def __init__(self) -> None:
        self.count = self.failed = 0
        self.seconds = 0.0
        self._buckets = [0] * (len(BOUNDS) + 1)

    def note(self, seconds: float, good: bool) -> None:
        self.count += 1
        self.failed += not good
        self.seconds += seconds
        self._buckets[bisect_left(BOUNDS, seconds)] += 1

    def within(self, bound: float) -> int:
        """Passes that took at most so many seconds; `bound` is one of the bounds."""
        return sum(self._buckets[: BOUNDS.index(bound) + 1])
