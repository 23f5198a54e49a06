"""What was made of something, for as long as that is the same object: with thousands of replicas little changes from
one pass to the next."""

from collections.abc import Callable
from typing import Generic, TypeVar

Made = TypeVar("Made")


class Memo(Generic[Made]):
    """By name. What nobody asked for between two calls of `turn` is forgotten."""

    def __init__(self) -> None:
        self._now: dict[str, tuple[object, Made]] = {}
        self._before: dict[str, tuple[object, Made]] = {}

    def get(self, name: str, of: object, make: Callable[[], Made]) -> Made:
        """What `make` gave when this name was last asked for with this very object."""
        known = self._now.get(name) or self._before.get(name)
        if known is None or known[0] is not of:
            known = of, make()
        self._now[name] = known
        return known[1]

    def turn(self) -> None:
        """Begin another round."""
        self._before, self._now = self._now, {}
