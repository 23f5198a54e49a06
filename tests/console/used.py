"""What language models have used, as the console shows it."""

from argosy.spec.language import TokenLimits
from argosy.store import usage
from argosy.store.store import Store


def tokens(store: Store, now: float, hostile: str) -> None:
    """A key of a hostile name, and one that is unknown by now, at an endpoint with long and short answers."""
    limits = TokenLimits(tokens_per_minute=20_000, tokens_per_month=50_000_000, money_per_day=12.5)
    record, _ = store.keys.create("team-a", ("fraud",), limits=limits)
    hour = int(now) // 3600 * 3600
    rows = [
        usage.Usage(
            key=key,
            endpoint="fraud",
            version="2",
            hour=hour,
            requests=1234,
            aborted=3,
            input=12_345_678,
            cached=9_000_000,
            output=543_210,
            money=123.456,
            first=5.0,
            firsts={usage.bucket(5.0): 1},
        )
        for key in (record.id, "0123456789ab", hostile)
    ]
    lines = [usage.Used(usage=row, at=hour) for row in rows]
    ledger = usage.TokenLedger(store.database, lambda _: None)
    assert ledger.take(usage.Position("log"), usage.Position("log", 1, 1), lines)
