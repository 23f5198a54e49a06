"""The limits of keys, divided among regions."""

import random

import pytest

from argosy.regions.shares import MOMENT, NONE, Share, Spend, divide, limited, over, paced, spends
from argosy.spec.language import TokenLimits
from argosy.store.keys import KeyRecord
from argosy.store.tokens import Account, Spent, TokenLease, periods

NOW = 1_800_000_000


def test_what_is_used_and_reserved_counts_in_each_period():
    names = [each.name for each in periods(NOW)]
    lease = TokenLease(id="1.a", key="k", at=NOW, until=NOW + 5, closes=NOW + 9, left=10, rate=0.5)
    found = spends(Account(spent={names[1]: Spent(100, 2.0)}, leases=(lease,)), NOW)
    assert found["tokens_per_minute"] == Spend(names[0], 10)
    assert found["tokens_per_day"] == Spend(names[1], 110)
    assert found["money_per_day"] == Spend(names[1], 7.0)


def test_a_share_is_raised_only_once_another_one_is_known_to_be_lower():
    shares = {"east": Share(100, 100), "west": Share()}
    shares = divide(100, shares, {"east": 10.0, "west": 0.0})
    assert shares["east"].told < 100 == shares["east"].most
    assert shares["west"].told == 0
    east = shares["east"].answered(12.0, NOW)
    assert divide(100, shares | {"east": east}, {"east": 12.0, "west": 0.0})["west"].told == 0, (
        "one answer may be early"
    )
    east = east.answered(12.0, NOW + MOMENT)
    shares = divide(100, shares | {"east": east}, {"east": 12.0, "west": 0.0})
    assert shares["west"].told > 0
    assert sum(each.most for each in shares.values()) <= 100


def test_a_region_that_is_not_heard_keeps_its_share():
    shares = {"east": Share(50, 50), "west": Share(50, 50)}
    for _ in range(5):
        shares = divide(100, shares, {"east": 49.0})
        assert shares == {"east": Share(50, 50), "west": Share(50, 50)}


def test_what_is_left_goes_where_it_is_used():
    shares = {"east": Share(50, 50), "west": Share(50, 50)}
    for at in range(4):
        used = {"east": 45.0, "west": 0.0}
        shares = {name: each.answered(used[name], NOW + at * MOMENT) for name, each in shares.items()}
        shares = divide(100, shares, used)
    assert shares["east"].told > 90
    assert shares["west"].told > 5


@pytest.mark.parametrize("seed", range(4))
def test_regions_never_spend_more_than_a_limit_whatever_is_lost(seed):
    """Orders and answers are lost, regions are cut off, clocks differ by minutes; periods are of 100 s."""
    drawn, limit, names = random.Random(seed), 1000.0, ("a", "b", "c")
    shares = {name: Share(limit, limit) if name == "a" else Share() for name in names}
    skew = dict(zip(names, (0, drawn.randint(-30, 30), drawn.randint(-30, 30)), strict=True))
    allowed = {"a": limit, "b": 0.0, "c": 0.0}
    used: dict[tuple[str, int], float] = {}
    cut: dict[str, int] = {}
    heard: dict[str, tuple[int, float]] = {}
    for now in range(1000):
        for name in names:
            period = (now + skew[name]) // 100
            most = allowed[name] - used.get((name, period), 0.0)
            used[name, period] = used.get((name, period), 0.0) + max(0.0, min(most, drawn.random() * 20))
        if now % 2:
            continue
        mine = {name: each for name, (period, each) in heard.items() if period == now // 100}
        shares = {n: each.answered(mine[n], now) if n in mine else each for n, each in shares.items()}
        shares = divide(limit, shares, mine)
        assert sum(each.most for each in shares.values()) <= limit + 1e-6
        heard = {}
        for name in names:
            if name != "a" and drawn.random() < 0.02:
                cut[name] = now + 60
            if cut.get(name, 0) > now:
                if drawn.random() < 0.3:
                    allowed[name] = shares[name].told  # it got the order, and its answer is lost
                continue
            allowed[name] = shares[name].told
            period = (now + skew[name]) // 100
            heard[name] = period, used.get((name, period), 0.0)
    totals: dict[int, float] = {}
    for (_, period), each in used.items():
        totals[period] = totals.get(period, 0.0) + each
    assert max(totals.values()) <= limit + 1e-6
    assert sorted(totals.values())[len(totals) // 2] > 0.5 * limit


def test_shares_become_limits_that_shorter_periods_do_not_exceed():
    limits = TokenLimits(tokens_per_minute=90, tokens_per_day=100, money_per_month=9.0, unreachable="open")
    found = limited(limits, {"tokens_per_minute": 60.7, "tokens_per_day": 40.2, "money_per_month": 3.0})
    assert found == TokenLimits(tokens_per_minute=40, tokens_per_day=40, money_per_month=3.0, unreachable="open")
    assert limited(limits, {}) == TokenLimits(
        tokens_per_minute=1, tokens_per_day=1, money_per_month=0.0, unreachable="open"
    )


def key(id: str, unreachable: str = "closed", **more: object) -> KeyRecord:
    limits = TokenLimits(tokens_per_day=100, unreachable=unreachable)
    return KeyRecord(id=id, name="n", scopes=("*",), created="", hash="", limits=limits, **more)


def test_a_lease_that_is_over_ends_what_the_holder_gave_alone():
    held, open_, own = key("1"), key("2", "open"), key("3")
    assert [each.limits for each in over([held, open_, own], {"1": held, "2": open_})] == [
        NONE,
        open_.limits,
        own.limits,
    ]


def test_a_rate_is_divided_equally():
    found = paced(key("1", rate=9.0, burst=2), 3)
    assert (found.rate, found.burst) == (3.0, 1)
    assert paced(key("1"), 3).rate is None
