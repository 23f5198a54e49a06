"""Where the hour of the week matters: what a window is compared with is the same hour of the weeks before, in UTC."""

from collections.abc import Sequence

import numpy as np

from argosy.profiles.layout import Floats, Layout
from argosy.profiles.profile import Profile, merge

WEEK = 7 * 24
WEEKS = 4
FEWEST = 2
GAIN = 10.0
_MONDAY = 72
"""Hours from a Monday to 1 January 1970, a Thursday."""


def hour_of_week(minute: int) -> int:
    """0 is Monday from 00:00 UTC, 167 Sunday from 23:00."""
    return (minute // 60 + _MONDAY) % WEEK


def same_hour(where: Layout, history: Sequence[Profile], minute: int) -> Profile | None:
    """The profiles of this hour in the last four weeks, merged; None where fewer than two of them have rows."""
    hour = minute // 60
    wanted = {hour - weeks * WEEK for weeks in range(1, WEEKS + 1)}
    found = [one for one in history if one.start // 60 in wanted and one.rows]
    return merge(where, found) if len({one.start // 60 for one in found}) >= FEWEST else None


def seasonal(windows: Floats, hours: Sequence[int]) -> list[bool]:
    """For each column whether the same hour of the week foretells a window better than all windows before it do.

    `windows` (T, D, C) are counts in order of time, `hours` their hours since 1970. Both foretell with shares
    smoothed by the other's; a season is where the hour's is ahead by 10 nats, and by more than chance over the
    windows foretold.
    """
    ahead: list[Floats] = []
    place = {hour: index for index, hour in enumerate(hours)}
    for index, hour in enumerate(hours):
        weeks = [place[hour - week * WEEK] for week in range(1, WEEKS + 1) if hour - week * WEEK in place]
        if len(weeks) < FEWEST:
            continue
        everything = windows[:index].sum(axis=0) + 0.5
        plain = everything / everything.sum(axis=-1, keepdims=True)
        same = windows[weeks].sum(axis=0) + 50 * plain
        ratio = np.log(same / same.sum(axis=-1, keepdims=True)) - np.log(plain)
        ahead.append(np.sum(windows[index] * ratio, axis=-1))
    if len(ahead) < 2:
        return [False] * windows.shape[1]
    gains = np.array(ahead)
    total, error = gains.sum(axis=0), gains.std(axis=0) * np.sqrt(len(gains))
    return [bool(one) for one in (total > GAIN) & (total > 3 * error)]
