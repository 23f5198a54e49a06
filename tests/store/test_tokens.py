"""What a key may still use: what is never sold twice, and that nothing of it leaks."""

import random
from datetime import UTC, datetime

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from argosy.spec.language import TokenLimits
from argosy.store.tokens import Account, Ask, Spent, expire, grant, periods, relieved, settle

NOON = int(datetime(2026, 11, 27, 12, 0, 30, tzinfo=UTC).timestamp())


def ask(tokens, **fields):
    return Ask(key="k", tokens=tokens, **fields)


def test_the_periods_of_utc():
    found = {each.kind: each for each in periods(NOON)}
    assert [each.name for each in found.values()] == ["2026-11-27T12:00", "2026-11-27", "2026-11"]
    assert found["minute"].end - found["minute"].start == 60
    assert found["day"].end - found["day"].start == 86400
    assert found["month"].end == int(datetime(2026, 12, 1, tzinfo=UTC).timestamp())
    assert next(each.end for each in periods(found["month"].end - 1)) == found["month"].end


def test_a_key_without_limits_gets_what_it_asks_for():
    decided, account = grant(Account(), ask(100), NOON, "a")
    assert decided.lease is not None
    assert decided.lease.left == 100
    assert decided.limit is None
    assert account.reserved == 100


def test_a_lease_has_more_than_was_asked_for_and_never_over_the_minute():
    account = Account(TokenLimits(tokens_per_minute=20000))
    decided, account = grant(account, ask(100, longest=60), NOON, "a")
    lease = decided.lease
    assert lease is not None
    assert lease.left == 800
    assert (lease.until, lease.closes) == (NOON + 5, NOON + 75)
    assert (decided.limit, decided.remaining, decided.reset) == (20000, 19900, 30)
    late, _ = grant(account, ask(100), NOON + 28, "b")
    assert late.lease is not None
    assert late.lease.until == NOON + 30


def test_it_is_said_which_limit_forbids_it_and_when_to_ask_again():
    account = Account(TokenLimits(tokens_per_minute=1000, tokens_per_day=1500))
    refused, _ = grant(account, ask(1001), NOON, "a")
    assert refused.lease is None
    assert refused.why is not None
    assert (refused.why.period.kind, refused.again) == ("minute", 0)
    _, account = grant(account, ask(900), NOON, "a")
    refused, _ = grant(account, ask(200), NOON, "b")
    assert refused.again == 1, "only reservations stand against it"
    account = settle(account, account.leases[0].id, 900, Spent(900), NOON)
    refused, _ = grant(account, ask(200), NOON, "b")
    assert refused.why is not None
    assert (refused.why.period.kind, refused.again) == ("minute", 30)
    granted, account = grant(account, ask(600), NOON + 60, "b")
    assert granted.lease is not None
    refused, _ = grant(account, ask(200), NOON + 60, "c")
    assert refused.why is not None
    assert refused.why.period.kind == "day"


def test_money_is_reserved_at_the_highest_price_and_charged_as_it_was():
    account = Account(TokenLimits(money_per_day=1.0))
    decided, account = grant(account, ask(400_000, rate=2e-6), NOON, "a")
    assert decided.lease is not None
    assert decided.limit is None
    refused, _ = grant(account, ask(200_000, rate=2e-6), NOON, "b")
    assert refused.why is not None
    assert refused.why.money
    assert refused.again == 1
    account = settle(account, decided.lease.id, 400_000, Spent(400_000, 0.3), NOON)
    granted, _ = grant(account, ask(200_000, rate=2e-6), NOON, "b")
    assert granted.lease is not None


def test_what_a_request_used_is_charged_when_its_lease_began_also_after_that_is_gone():
    account = Account(TokenLimits(tokens_per_minute=1000))
    decided, account = grant(account, ask(500), NOON, "a")
    assert decided.lease is not None
    account = expire(account, decided.lease.closes)
    assert account.reserved == 0
    account = settle(account, decided.lease.id, 500, Spent(300), NOON + 90)
    assert account.spent == {each.name: Spent(300) for each in periods(NOON)}


def test_what_a_gateway_had_that_was_killed_is_charged():
    account = Account(TokenLimits(tokens_per_minute=1000))
    decided, account = grant(account, ask(500, gateway="here/7"), NOON, "a")
    assert decided.lease is not None
    account = expire(account, NOON + 1, {"here/7"})
    assert account.reserved == 0
    assert {each.tokens for each in account.spent.values()} == {decided.lease.left}


def test_what_a_gateway_had_that_was_drained_is_free_and_that_of_others_stays():
    account = Account(TokenLimits(tokens_per_minute=1000))
    for gateway in ("here/7", "", "here/8"):
        _, account = grant(account, ask(100, gateway=gateway), NOON, gateway)
    account = expire(account, NOON + 1, drained={"here/7"})
    assert ([each.gateway for each in account.leases], account.spent) == (["", "here/8"], {})
    assert len(expire(account, NOON + 1).leases) == 2


@given(st.integers(0, 2**32), st.integers(100, 20000))
@settings(max_examples=40, deadline=None)
def test_eight_gateways_never_get_more_than_there_is_and_nothing_leaks(seed, limit):
    """Requests of random size, that end, are aborted or are lost with their gateway. What is used is never more than
    what was reserved, so that limits hold exactly."""
    rng = random.Random(seed)
    account, now, number = Account(TokenLimits(tokens_per_minute=limit, tokens_per_day=5 * limit)), NOON, 0
    held: dict[int, list[list]] = {gateway: [] for gateway in range(8)}  # [lease, left]
    running: list[tuple[int, str, int, int]] = []
    charged = lost = 0
    for _ in range(300):
        now += rng.choice((0, 0, 0, 1, 7))
        for each in [each for each in running if each[3] <= now]:  # no request takes longer than its endpoint allows
            running.remove(each)
            account = settle(account, each[1], each[2], Spent(each[2]), now)
            charged += each[2]
        account = expire(account, now)
        gateway, what = rng.randrange(8), rng.random()
        if what < 0.6:
            tokens = rng.randint(1, max(1, limit // 4))
            there = next((each for each in held[gateway] if each[0].until > now and each[1] >= tokens), None)
            if there is None:
                number += 1
                decided, account = grant(account, ask(tokens, gateway=f"g/{gateway}"), now, f"{number}")
                if decided.lease is None:
                    continue
                there = [decided.lease, decided.lease.left]
                held[gateway].append(there)
            there[1] -= tokens
            running.append((gateway, there[0].id, tokens, now + 60))
        elif what < 0.9 and running:
            gateway, lease, tokens, _ = running.pop(rng.randrange(len(running)))
            used = rng.choice((0, tokens, rng.randint(0, tokens)))
            charged += used
            account = settle(account, lease, tokens, Spent(used), now)
        elif what < 0.95 and held[gateway]:
            lease, left = held[gateway].pop()
            account = relieved(account, lease.id, left)
        elif rng.random() < 0.5 and not any(each[0] == gateway for each in running):
            account, held[gateway] = expire(account, now, drained={f"g/{gateway}"}), []
        else:
            mine = {each.gateway for each in account.leases} & {f"g/{gateway}"}
            lost += sum(each.left for each in account.leases if each.gateway in mine)
            account = expire(account, now, mine)
            running = [each for each in running if each[0] != gateway]
            held[gateway] = []
        for minute, day, _ in (tuple(periods(each.at)) for each in account.leases):
            for period, most in ((minute, limit), (day, 5 * limit)):
                inside = sum(each.left for each in account.leases if period.start <= each.at < period.end)
                assert account.spent.get(period.name, Spent()).tokens + inside <= most
        assert all(each.left > 0 for each in account.leases)
    for _, lease, tokens, _ in running:
        account = settle(account, lease, tokens, Spent(tokens), now)
        charged += tokens
    account = expire(account, now + 1000)
    assert account.reserved == 0
    month = next(each for each in periods(NOON) if each.kind == "month")
    assert account.spent.get(month.name, Spent()).tokens == charged + lost


@pytest.mark.parametrize("lease", ["", "nothing", "zz.1", "-.-"])
def test_a_lease_that_is_none_settles_nothing(lease):
    account = settle(Account(), lease, 10, Spent(5), NOON)
    assert account.reserved == 0
    assert account.spent["2026-11"] == Spent(5)
