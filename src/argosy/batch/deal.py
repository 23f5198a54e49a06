"""Who works at which fragment, and which fragment kills who works at it: pure, without a process."""

from collections.abc import Mapping, Sequence

import msgspec

LIVES = 3
"""Workers that may crash at a fragment, one after the other, without getting further."""
KILLED = 10
"""The same for workers that were killed: from outside, or for the memory they took."""


class Held(msgspec.Struct, frozen=True):
    """What a worker is at: the fragment, and how many of its rows are safe; -1 before it has begun."""

    number: int
    rows: int = -1


class Death(msgspec.Struct, frozen=True):
    """Workers died in a row while a fragment stood at `rows`: so many crashed, so many were killed."""

    rows: int
    crashed: int = 0
    killed: int = 0


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


def died(hand: Hand, worker: int, *, killed: bool) -> tuple[int | None, Hand]:
    """A worker is gone, `killed` by SIGKILL or else; what it held is given to another. The number of the fragment that
    is to blame, or None.

    Only deaths at the same row, one after the other, speak against a fragment, and a kill speaks less than a crash:
    it may have come from outside.
    """
    if worker not in hand.held:
        return None, hand
    at = hand.held[worker]
    held = {one: what for one, what in hand.held.items() if one != worker}
    hand = msgspec.structs.replace(hand, held=held, again=(*hand.again, at.number))
    if at.rows < 0:
        return None, hand
    before = hand.deaths.get(at.number)
    if before is None or before.rows != at.rows:
        before = Death(at.rows)
    death = Death(at.rows, before.crashed + (not killed), before.killed + killed)
    hand = msgspec.structs.replace(hand, deaths={**hand.deaths, at.number: death})
    blamed = death.crashed >= LIVES or death.crashed + death.killed >= KILLED
    return (at.number if blamed else None), hand
