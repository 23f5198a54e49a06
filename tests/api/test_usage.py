"""Tokens and money added up by what is asked for."""

import pytest

from argosy.api.usage import UsageQuery, grouped, quantile
from argosy.spec.errors import InvalidArgument
from argosy.store.usage import Usage, bucket

DAY = 1_795_737_600  # 2026-11-27


def row(**fields):
    return Usage(**{"key": "k1", "endpoint": "gemma", "version": "1", "hour": DAY, "requests": 1} | fields)


ROWS = [
    row(input=10, output=5, money=0.5, firsts={bucket(100): 3}),
    row(hour=DAY + 3600, input=20, output=7, aborted=1, firsts={bucket(900): 1}),
    row(hour=DAY + 86400, version="2", output=1),
    row(key="k2", endpoint="llama", output=3, money=2.0),
]


def test_by_key():
    first, second = grouped(ROWS, ["key"], {"k1": "team-a"}, {"gemma": "EUR", "llama": "USD"})
    assert (first.key, first.name, first.endpoint, first.day) == ("k1", "team-a", "", "")
    assert (first.requests, first.aborted, first.input, first.output, first.money) == (3, 1, 30, 13, 0.5)
    assert (first.currency, second.currency, second.name) == ("EUR", "USD", "")
    assert first.first_p50 == pytest.approx(100, rel=0.1)
    assert first.first_p95 == pytest.approx(900, rel=0.1)
    assert first.each_p50 is None


def test_by_day_and_version_and_by_hour():
    found = grouped(ROWS, ["day", "version"], {}, {})
    assert [(each.day, each.version, each.output) for each in found] == [
        ("2026-11-27", "1", 15),
        ("2026-11-28", "2", 1),
    ]
    assert [each.hour for each in grouped(ROWS[:2], ["hour"], {}, {})] == ["2026-11-27T00:00", "2026-11-27T01:00"]


def test_money_of_different_currencies_is_never_added():
    found = grouped(ROWS, ["day"], {}, {"gemma": "EUR", "llama": "USD"})
    assert [(each.day, each.money, each.currency) for each in found][:2] == [
        ("2026-11-27", 0.5, "EUR"),
        ("2026-11-27", 2.0, "USD"),
    ]


@pytest.mark.parametrize("by", ["", "money", "key,", "key day"])
def test_what_cannot_be_told_apart(by):
    with pytest.raises(InvalidArgument, match="by has some of key, endpoint"):
        UsageQuery(by=by)
    with pytest.raises(InvalidArgument, match="since must be 3600 to"):
        UsageQuery(since=1)


def test_quantiles():
    assert quantile({}, 0.5) is None
    assert quantile({8: 1}, 0.5) == 2.0
