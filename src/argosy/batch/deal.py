"""Who works at which fragment, and which fragment kills who works at it: pure, without a process."""

from collections.abc import Mapping, Sequence

import msgspec

LIVES = 3
"""Workers that a fragment may cost without getting further."""


class Held(msgspec.Struct, frozen=True):
    """What a worker is at: the fragment, and how many of its rows are safe; -1 before it has begun."""

    number: int
    rows: int = -1


class Death(msgspec.Struct, frozen=True):
    """Workers died in a row while a fragment stood at `rows`."""

    rows: int
    count: int


class Hand(msgspec.Struct, frozen=True):
    """What is not done. `todo` in order, of which `dealt` were given out; `again` came back from workers that died."""

    todo: tuple[int, ...]
    dealt: int = 0
    again: tuple[int, ...] = ()
    held: Mapping[int, Held] = {}
    deaths: Mapping[int, Death] = {}

    @property
    def waiting(self) -> int:
        """Fragments that nobody works at."""
        return len(self.again) + len(self.todo) - self.dealt

    @property
    def done(self) -> bool:
        """Whether nothing is left."""
        return not self.waiting and not self.held


def dealt(todo: Sequence[int]) -> Hand:
    """The beginning."""
    return Hand(tuple(todo))


def give(hand: Hand, worker: int) -> tuple[int | None, Hand]:
    """The next fragment for a worker that has none: first what came back. None: nothing waits."""
    if hand.again:
        number, hand = hand.again[0], msgspec.structs.replace(hand, again=hand.again[1:])
    elif hand.dealt < len(hand.todo):
        number, hand = hand.todo[hand.dealt], msgspec.structs.replace(hand, dealt=hand.dealt + 1)
    else:
        return None, hand
    return number, msgspec.structs.replace(hand, held={**hand.held, worker: Held(number)})


def reached(hand: Hand, worker: int, rows: int) -> Hand:
    """A worker has so many rows of its fragment safe."""
    return msgspec.structs.replace(hand, held={**hand.held, worker: Held(hand.held[worker].number, rows)})


def finished(hand: Hand, worker: int) -> Hand:
    """A worker's fragment has its entry."""
    number = hand.held[worker].number
    held = {one: what for one, what in hand.held.items() if one != worker}
    deaths = {one: death for one, death in hand.deaths.items() if one != number}
    return msgspec.structs.replace(hand, held=held, deaths=deaths)


def died(hand: Hand, worker: int) -> tuple[int | None, Hand]:
    """A worker is gone; what it held is given to another. The number of the fragment that has cost its last, or None.

    Only those who died at the same row, one after the other, speak against a fragment: a worker that was killed
    from outside died anywhere.
    """
    if worker not in hand.held:
        return None, hand
    at = hand.held[worker]
    held = {one: what for one, what in hand.held.items() if one != worker}
    hand = msgspec.structs.replace(hand, held=held, again=(*hand.again, at.number))
    if at.rows < 0:
        return None, hand
    before = hand.deaths.get(at.number)
    count = before.count + 1 if before is not None and before.rows == at.rows else 1
    hand = msgspec.structs.replace(hand, deaths={**hand.deaths, at.number: Death(at.rows, count)})
    return (at.number if count >= LIVES else None), hand
