"""Who works at which fragment, and which fragment kills who works at it: pure, without a process."""

from collections.abc import Mapping, Sequence

import msgspec

LIVES = 3
"""Workers that may crash at a fragment, one after the other, without getting further."""
KILLED = 10
"""The same for workers that were killed: from outside, or for the memory they took."""


class Held(msgspec.Struct, frozen=True):
    """What a worker is at: the fragment, and how many of its rows are safe; -1 before it has begun. Once all are
    `answered` it takes no more than writing them."""

    number: int
    rows: int = -1
    answered: bool = False


class Death(msgspec.Struct, frozen=True):
    """Workers died in a row while a fragment stood at `rows`: so many crashed, so many were killed."""

    rows: int
    crashed: int = 0
    killed: int = 0


class Hand(msgspec.Struct, frozen=True):
    """What is not done. `todo` in order, of which `dealt` were given out; `again` came back from workers that died.

    A worker holds one fragment at least, and further ones before it that are answered.
    """

    todo: tuple[int, ...]
    dealt: int = 0
    again: tuple[int, ...] = ()
    held: Mapping[int, tuple[Held, ...]] = {}
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


def free(hand: Hand, worker: int) -> bool:
    """Whether a worker can do with another fragment: none is before it that has rows to answer, or that somebody died
    at, which is done alone."""
    return all(one.answered and one.number not in hand.deaths for one in hand.held.get(worker, ()))


def give(hand: Hand, worker: int) -> tuple[int | None, Hand]:
    """The next fragment for a worker that is free: first what came back. None: nothing waits."""
    if hand.again:
        number, hand = hand.again[0], msgspec.structs.replace(hand, again=hand.again[1:])
    elif hand.dealt < len(hand.todo):
        number, hand = hand.todo[hand.dealt], msgspec.structs.replace(hand, dealt=hand.dealt + 1)
    else:
        return None, hand
    return number, _holding(hand, worker, (*hand.held.get(worker, ()), Held(number)))


def reached(hand: Hand, worker: int, number: int, rows: int) -> Hand:
    """A worker has so many rows of a fragment safe."""
    return _changed(hand, worker, number, rows=rows)


def answered(hand: Hand, worker: int, number: int) -> Hand:
    """A worker has answered all rows of a fragment."""
    return _changed(hand, worker, number, answered=True)


def finished(hand: Hand, worker: int, number: int) -> Hand:
    """A worker's fragment has its entry."""
    left = tuple(one for one in hand.held.get(worker, ()) if one.number != number)
    deaths = {one: death for one, death in hand.deaths.items() if one != number}
    return msgspec.structs.replace(_holding(hand, worker, left), deaths=deaths)


def died(hand: Hand, worker: int, *, killed: bool = False, hung: bool = False) -> tuple[Held | None, Hand]:
    """A worker is gone, `killed` by SIGKILL or else; what it held is given to others. The fragment that is to blame and
    where it was, or None.

    Only deaths at the same row, one after the other, speak against a fragment, and a kill speaks less than a crash:
    it may have come from outside. One that `hung`, and was ended for that, has crashed; where it had begun nothing,
    what hung was the beginning of its first fragment.
    """
    held = hand.held.get(worker, ())
    hand = msgspec.structs.replace(_holding(hand, worker, ()), again=(*hand.again, *(one.number for one in held)))
    blamed: Held | None = None
    begun = tuple(one for one in held if one.rows >= 0)
    for at in begun or (held[:1] if hung else ()):
        before = hand.deaths.get(at.number)
        if before is None or before.rows != at.rows:
            before = Death(at.rows)
        death = Death(at.rows, before.crashed + (not killed), before.killed + killed)
        hand = msgspec.structs.replace(hand, deaths={**hand.deaths, at.number: death})
        if death.crashed >= LIVES or death.crashed + death.killed >= KILLED:
            blamed = at
    return blamed, hand


def _holding(hand: Hand, worker: int, held: tuple[Held, ...]) -> Hand:
    others = {one: what for one, what in hand.held.items() if one != worker}
    return msgspec.structs.replace(hand, held=others | ({worker: held} if held else {}))


def _changed(hand: Hand, worker: int, number: int, **change: int) -> Hand:
    held = hand.held.get(worker, ())
    return _holding(
        hand, worker, tuple(msgspec.structs.replace(one, **change) if one.number == number else one for one in held)
    )
