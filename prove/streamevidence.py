"""Change in a stream, value by value, against a baseline that is not given: errors, answers or any score.

As in `argosy.monitoring.drift.evidence`, with windows of one value: given how often each kind of value came until now,
this one included, the last is any of them alike if nothing has changed. An e-value is Q/p̃ for shares Q made from the
shares p̃ so far; it has mean 1 whatever the true shares are. Shiryaev-Roberts statistics, one per alternative, add up
to evidence in rows: the first time it reaches A comes after A rows on average or later. To begin anew after an alarm,
begin with `Stream()`.
"""

from bisect import bisect_right
from math import exp, isnan, sqrt
from statistics import NormalDist

import msgspec

from argosy.spec.errors import InvalidArgument

ODDS = (2.5, 6.0)
_ODDS_WEIGHTS = (1 / 3, 2 / 3)

CELLS = 20
REVERSED = (0.2, 0.5, 0.9)
_REVERSED_WEIGHTS = (0.5, 0.25, 0.25)
_GROWTH = 1 / 15

LEARNED = 200
_TENTHS = 10
_NORMAL = NormalDist()
_ENDS = [_NORMAL.pdf(_NORMAL.inv_cdf(i / _TENTHS)) if 0 < i < _TENTHS else 0.0 for i in range(_TENTHS + 1)]
_SCORES = [_TENTHS * (_ENDS[i] - _ENDS[i + 1]) for i in range(_TENTHS)]
_UNIT = sqrt(sum(score**2 for score in _SCORES) / _TENTHS)
_TILTS = [[exp(move * score / _UNIT) for score in _SCORES] for move in (0.25, 0.6, 1.5, -0.25, -0.6, -1.5)]


class Stream(msgspec.Struct, frozen=True):
    """What is remembered: how often each cell came, the evidence per alternative, and for scores the first values,
    then the edges of the cells learned from them."""

    counts: tuple[int, ...] = ()
    evidence: tuple[float, ...] = ()
    first: tuple[float, ...] = ()
    edges: tuple[float, ...] = ()

    @property
    def run_length(self) -> float:
        """The evidence of a change: rows that pass on average until as much comes by chance. Alarm where it reaches
        the run length that you want between false alarms."""
        return sum(self.evidence)


def errors(state: Stream, wrong: bool) -> Stream:
    """One more answer that was right or wrong. Only a rise of errors is a change."""
    right, wrongs = state.counts or (0, 0)
    right, wrongs = (right, wrongs + 1) if wrong else (right + 1, wrongs)
    share = wrongs / (right + wrongs)
    before = state.evidence or (0.0, 0.0)
    evidence = tuple(
        (old + weight) * (odds if wrong else 1.0) / (1 + share * (odds - 1))
        for old, weight, odds in zip(before, _ODDS_WEIGHTS, ODDS, strict=True)
    )
    return Stream((right, wrongs), evidence)


def answers(state: Stream, probability: float) -> Stream:
    """One more probability that a classifier gave to what turned out to be true. It says more than right or wrong
    does.

    The change that it finds is of the concept: in a growing share of rows another label is true than before, so that
    the probability p of the true one becomes 1 − p. Raises InvalidArgument outside of [0, 1].
    """
    if not 0 <= probability <= 1:
        raise InvalidArgument(f"the probability of the true label must lie in [0, 1]; this is {probability}")
    place = min(int(probability * CELLS), CELLS - 1)
    counts = _count(state.counts or (0,) * CELLS, place)
    ratio = counts[CELLS - 1 - place] / counts[place]
    before, moving, evidence = state.evidence or (0.0,) * len(REVERSED), 0.0, list[float]()
    for index, (old, weight, share) in enumerate(zip(before, _REVERSED_WEIGHTS, REVERSED, strict=True)):
        leaving = old * _GROWTH if index < len(REVERSED) - 1 else 0.0
        evidence.append((old - leaving + moving + weight) * (1 - share + share * ratio))
        moving = leaving
    return Stream(counts, tuple(evidence))


def scores(state: Stream, value: float) -> Stream:
    """One more number of any kind. A move to either side is a change; the first 200 values only make its cells. NaN is
    passed over."""
    if isnan(value):
        return state
    if not state.edges:
        first = (*state.first, value)
        return Stream(first=first) if len(first) < LEARNED else Stream(edges=_edges(first))
    place = bisect_right(state.edges, value)
    counts = _count(state.counts or (0,) * _TENTHS, place)
    total = sum(counts)
    before = state.evidence or (0.0,) * len(_TILTS)
    evidence = tuple(
        (old + 1 / len(_TILTS)) * tilt[place] * total / sum(map(float.__mul__, tilt, map(float, counts)))
        for old, tilt in zip(before, _TILTS, strict=True)
    )
    return Stream(counts, evidence, edges=state.edges)


def _count(counts: tuple[int, ...], place: int) -> tuple[int, ...]:
    return (*counts[:place], counts[place] + 1, *counts[place + 1 :])


def _edges(first: tuple[float, ...]) -> tuple[float, ...]:
    ranked = sorted(first)
    return tuple(ranked[len(ranked) * tenth // _TENTHS] for tenth in range(1, _TENTHS))
