"""The ledger of tokens in the database: each line counts once, whoever reads it, and several processes share it."""

import threading

import msgspec
import pytest

from argosy.spec.language import TokenLimits
from argosy.store.database import Database
from argosy.store.tokens import Ask, Spent
from argosy.store.usage import (
    HOUR,
    AnswerCounts,
    Position,
    TokenLedger,
    Usage,
    Used,
    add,
    answers,
    bucket,
    read,
    totals,
    upper,
)
from tests.postgres import running

NOON = 1_795_780_830


@pytest.fixture(params=["sqlite", pytest.param("postgres", marks=pytest.mark.slow)])
def database(request, tmp_path):
    if request.param == "sqlite":
        made = Database(tmp_path / "d.db").create()
        yield made
        made.close()
        return
    with running() as folder:
        made = Database(f"postgresql://postgres@/postgres?host={folder}").create()
        yield made
        made.close()


def usage(**fields):
    return Usage(
        **{"key": "k", "endpoint": "gemma", "version": "1", "hour": NOON // HOUR * HOUR, "requests": 1} | fields
    )


def ledger(database, **limits):
    found = TokenLimits(**limits)
    return TokenLedger(database, lambda key: found if key == "k" else None)


def test_a_lease_is_settled_by_a_line_and_the_line_counts_once(database):
    tokens = ledger(database, tokens_per_minute=1000)
    (decided,) = tokens.ask([Ask(key="k", tokens=100)], [], NOON)
    assert decided.lease is not None
    used = Used(usage=usage(input=30, output=20), at=NOON, lease=decided.lease.id, reserved=100)
    assert tokens.take(Position("log"), Position("log", 5, 300), [used])
    assert not tokens.take(Position("log"), Position("log", 5, 300), [used]), "who was slower counts nothing"
    assert tokens.position("log") == Position("log", 5, 300)
    account = tokens.account("k")
    assert account.reserved == 0
    assert set(account.spent.values()) == {Spent(50, 0.0)}
    assert [(each.requests, each.input, each.output) for each in read(database, 0, 2**40)] == [(1, 30, 20)]


def test_what_is_given_back_is_free_at_once(database):
    tokens = ledger(database, tokens_per_minute=1000)
    (first,) = tokens.ask([Ask(key="k", tokens=1000)], [], NOON)
    assert first.lease is not None
    (refused,) = tokens.ask([Ask(key="k", tokens=1)], [("nobody's", 5)], NOON)
    assert refused.lease is None
    (second,) = tokens.ask([Ask(key="k", tokens=400)], [(first.lease.id, 500)], NOON)
    assert second.lease is not None
    assert tokens.account("k").reserved <= 1000


def test_leases_end_and_old_rows_are_forgotten(database):
    tokens = ledger(database, tokens_per_minute=1000)
    tokens.ask([Ask(key="k", tokens=100, gateway="a/1"), Ask(key="k", tokens=10, gateway="b/2")], [], NOON)
    assert tokens.gateways() == {"a/1", "b/2"}
    tokens.expire(NOON + 1, {"a/1"})
    lost = tokens.account("k").spent["2026-11"].tokens
    assert lost >= 100
    tokens.expire(NOON + 2 * HOUR)
    account = tokens.account("k")
    assert account.reserved == 0
    assert sorted(account.spent) == ["2026-11", "2026-11-27"], "the minute is over"
    tokens.expire(NOON + 4 * 86400)
    assert sorted(tokens.account("k").spent) == ["2026-11"]


def test_hours_and_the_sums_of_all_hours(database):
    tokens = ledger(database)
    rows = [
        usage(input=5, output=2, money=0.5, firsts={3: 1}),
        usage(key="", input=1, output=1, firsts={3: 2, 4: 1}),
        usage(hour=NOON // HOUR * HOUR + HOUR, aborted=1, output=7),
    ]
    assert tokens.take(Position("log"), Position("log", 1, 1), [Used(usage=each, at=NOON) for each in rows])
    assert tokens.take(Position("log", 1, 1), Position("log", 1, 2), [Used(usage=rows[0], at=NOON)])
    (whole,) = totals(database)
    assert (whole.requests, whole.aborted, whole.input, whole.output, whole.money) == (4, 1, 11, 12, 1.0)
    assert whole.firsts == {3: 4, 4: 1}
    hours = read(database, 0, 2**40)
    assert add(hours, key="", hour=0) == whole


def test_processes_that_ask_at_once_never_get_more_than_there_is(database):
    got, ledgers = [], [ledger(database, tokens_per_minute=1000) for _ in range(4)]

    def work(mine):
        for _ in range(10):
            got.extend(each.lease.left for each in mine.ask([Ask(key="k", tokens=37)], [], NOON) if each.lease)

    threads = [threading.Thread(target=work, args=(each,)) for each in ledgers]
    for each in threads:
        each.start()
    for each in threads:
        each.join()
    assert 1000 - 37 < sum(got) <= 1000
    assert ledgers[0].account("k").reserved == sum(got)


def test_buckets_hold_what_they_say():
    for value in (0.01, 0.5, 1, 3, 999, 12345.6):
        assert upper(bucket(value) - 1) < value <= upper(bucket(value)) * 1.0000001


def test_an_estimate_counts_for_limits_and_is_not_billed(database):
    tokens = ledger(database)
    line = Used(usage=msgspec.structs.replace(usage(), input=0, output=0), at=NOON, estimated=250)
    assert tokens.take(Position("log"), Position("log", 5, 300), [line])
    assert {each.tokens for each in tokens.account(line.usage.key).spent.values()} == {250}
    assert sum(each.input + each.output for each in read(database, 1, NOON + 3600)) == 0


def test_what_is_counted_of_answers_is_summed_by_revision(database):
    tokens = ledger(database)

    def took(revision, first):
        counted = AnswerCounts(
            endpoint="gemma",
            revision=revision,
            at=NOON,
            firsts={first: 1},
            eaches={7: 2},
            finishes={"stop": 1},
            input=9,
        )
        return Used(usage=usage(), at=NOON, counted=counted)

    assert tokens.take(Position("log"), Position("log", 5, 300), [took("a", 3), took("a", 4), took("b", 3)])
    assert tokens.take(Position("log", 5, 300), Position("log", 5, 400), [took("a", 3), Used(usage=usage(), at=NOON)])
    found = answers(database, ["gemma"])
    assert {key: each.firsts for key, each in found.items()} == {("gemma", "a"): {3: 2, 4: 1}, ("gemma", "b"): {3: 1}}
    assert found["gemma", "a"].eaches == {7: 6}
    assert (found["gemma", "a"].finishes, found["gemma", "a"].input) == ({"stop": 3}, 27)
    assert answers(database, ["other"]) == {}
    tokens.expire(NOON + 401 * 86400)
    assert answers(database, ["gemma"]) == {}
