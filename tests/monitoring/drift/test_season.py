import msgspec
import numpy as np
import pytest

from argosy.monitoring.drift.season import WEEK, hour_of_week, same_hour, seasonal
from argosy.profiles.profile import Profile, minute
from tests.profiles.models import small
from tests.profiles.test_profile import of

WHERE = small()


def at(hour: int) -> Profile:
    return msgspec.structs.replace(of(20, hour), start=hour * 60, end=hour * 60 + 60)


def test_hours_of_the_week_are_utc():
    assert hour_of_week(minute(1_732_492_800)) == 0
    assert hour_of_week(minute(1_732_492_800 - 1)) == 167
    assert hour_of_week(0) == 72


def test_the_reference_is_this_hour_of_the_last_four_weeks():
    now = 10 * WEEK + 5
    history = [at(now - weeks * WEEK + shift) for weeks in range(1, 7) for shift in (0, 1)]
    found = same_hour(WHERE, history, now * 60)
    assert found is not None
    assert (found.rows, found.start) == (80, (now - 4 * WEEK) * 60)


@pytest.mark.parametrize("weeks", [(), (1,), (5, 6)])
def test_one_week_is_no_season(weeks):
    now = 10 * WEEK + 5
    assert same_hour(WHERE, [at(now - week * WEEK) for week in weeks], now * 60) is None


def test_a_season_is_where_the_hour_foretells_better():
    rng, hours = np.random.default_rng(0), range(5 * WEEK)
    windows = np.zeros((len(hours), 2, 3))
    for place, hour in enumerate(hours):
        swing = 0.2 * np.sin(2 * np.pi * hour / 24)
        windows[place, 0] = rng.multinomial(100, [0.3 + swing, 0.3 - swing, 0.4])
        windows[place, 1] = rng.multinomial(100, [0.3, 0.3, 0.4])
    assert seasonal(windows, list(hours)) == [True, False]
    assert seasonal(windows[:WEEK], list(hours)[:WEEK]) == [False, False]
