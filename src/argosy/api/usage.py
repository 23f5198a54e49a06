"""`/v1/keys`: make, list, revoke; when an answer is given, the gateway already knows. `/v1/usage`: the tokens and money
that language models have used, by key, endpoint, version, day or hour."""

import asyncio
import time
from collections.abc import Collection, Iterable, Mapping, Sequence
from datetime import UTC, datetime
from functools import partial

import msgspec

from argosy.api.route import Route, Services
from argosy.control.admission import check_counted
from argosy.spec.errors import InvalidArgument
from argosy.spec.language import TokenLimits
from argosy.spec.offer import CostRow
from argosy.store import usage
from argosy.store.keys import EVERYTHING, Key
from argosy.store.usage import HOUR, RETENTION, Usage, upper


class NewKey(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A key to make: the endpoints it may reach ("*": all), requests a second and how many may come at once, and
    limits of the tokens that it may use."""

    name: str
    scopes: tuple[str, ...] = (EVERYTHING,)
    rate: float | None = None
    burst: int | None = None
    limits: TokenLimits | None = None


class CreatedKey(Key, frozen=True, kw_only=True):
    """A new key with its text, which is shown this once."""

    key: str


async def every(services: Services) -> list[Key]:
    """Every key there ever was, oldest first."""
    records = await asyncio.to_thread(services.store.keys.list)
    return msgspec.convert(records, list[Key], from_attributes=True)


async def create(services: Services, body: NewKey) -> CreatedKey:
    """Make a key."""
    check_counted(body.limits, services.settings.gateway)
    make = partial(services.store.keys.create, body.name, body.scopes, body.rate, body.burst, body.limits)
    record, text = await asyncio.to_thread(make)
    await services.controller.settled()
    shown = msgspec.convert(record, Key, from_attributes=True)
    return CreatedKey(**msgspec.structs.asdict(shown), key=text)


async def revoke(services: Services, id: str) -> Key:
    """End a key for good."""
    record = await asyncio.to_thread(services.store.keys.revoke, id)
    await services.controller.settled()
    return msgspec.convert(record, Key, from_attributes=True)


PARTS = ("key", "endpoint", "version", "day", "hour")
DEFAULT = "key,endpoint,version,day"


class UsageQuery(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The last `since` seconds, in whole hours; `by` has some of key, endpoint, version, day and hour, with commas."""

    since: int = 30 * 86400
    by: str = DEFAULT

    def __post_init__(self) -> None:
        check_parts(self.since, RETENTION, self.by, PARTS)

    @property
    def parts(self) -> tuple[str, ...]:
        """What is told apart."""
        return tuple(self.by.split(","))


class UsedTokens(msgspec.Struct, frozen=True, kw_only=True):
    """What was used: `cached` are among the `input` tokens, `reasoning` among those of `output`. What is not told apart
    is empty. `name` is the key's. `first_p50` and `first_p95` are quantiles of the time to the first token, `each_p50`
    of that for each further one, in milliseconds; None without streams."""

    key: str = ""
    name: str = ""
    endpoint: str = ""
    version: str = ""
    day: str = ""
    hour: str = ""
    requests: int
    aborted: int
    input: int
    cached: int
    output: int
    reasoning: int
    money: float
    currency: str
    first_p50: float | None = None
    first_p95: float | None = None
    each_p50: float | None = None


async def used(services: Services, query: UsageQuery) -> list[UsedTokens]:
    """What was used, the oldest first. Money in different currencies is told apart."""
    names, currencies = await asyncio.to_thread(_names, services)
    now = time.time()
    rows = await asyncio.to_thread(
        usage.read, services.store.database, int(now - query.since) // HOUR * HOUR, int(now) + HOUR
    )
    return grouped(rows, query.parts, names, currencies)


def _names(services: Services) -> tuple[dict[str, str], dict[str, str]]:
    """The names of keys, and the currencies of endpoints."""
    declared = [each.endpoint for each in services.state.endpoints()]
    currencies = {each.name: each.price.currency for each in declared if each.price is not None}
    return {each.id: each.name for each in services.store.keys.list()}, currencies


def check_parts(since: int, most: int, by: str, parts: Collection[str]) -> None:
    """Raises InvalidArgument where a time is too short or long, or `by` has what is none of the parts."""
    if not HOUR <= since <= most:
        raise InvalidArgument(f"since must be {HOUR} to {most} seconds, not {since}")
    if unknown := [each for each in by.split(",") if each not in parts]:
        raise InvalidArgument(f"by has some of {', '.join(parts)}, with commas between them, not '{unknown[0][:80]}'")


def place_of(row: Usage | CostRow, fields: Sequence[str], told: Collection[str]) -> tuple[str, ...]:
    """The day, the hour and these fields of a row by which it is added up; empty for what is not told apart."""
    at = datetime.fromtimestamp(row.hour, UTC)
    values = {"day": at.strftime("%Y-%m-%d"), "hour": at.strftime("%Y-%m-%dT%H:00")}
    values |= {name: getattr(row, name) for name in fields}
    return tuple(value if name in told else "" for name, value in values.items())


def grouped(
    rows: Iterable[Usage], parts: Iterable[str], names: Mapping[str, str], currencies: Mapping[str, str]
) -> list[UsedTokens]:
    """Rows added up by some of `PARTS`."""
    told = set(parts)
    groups: dict[tuple[str, ...], list[Usage]] = {}
    for row in rows:
        place = place_of(row, ("key", "endpoint", "version"), told)
        groups.setdefault((*place, currencies.get(row.endpoint, "")), []).append(row)
    found: list[UsedTokens] = []
    for (day, hour, key, endpoint, version, currency), each in sorted(groups.items()):
        whole = usage.add(each)
        found.append(
            UsedTokens(
                day=day,
                hour=hour,
                key=key,
                name=names.get(key, ""),
                endpoint=endpoint,
                version=version,
                currency=currency,
                first_p50=quantile(whole.firsts, 0.5),
                first_p95=quantile(whole.firsts, 0.95),
                each_p50=quantile(whole.eaches, 0.5),
                **{name: getattr(whole, name) for name in usage.SUMS if name not in ("first", "each")},
            )
        )
    return found


def quantile(buckets: Mapping[int, int], q: float) -> float | None:
    """The q-quantile of a histogram of `usage`, to 10 %; None where it is empty."""
    wanted, before = q * sum(buckets.values()), 0
    for place, count in sorted(buckets.items()):
        if count and before + count >= wanted:
            return upper(place)
        before += count
    return None


ROUTES = (
    Route("GET", "/v1/keys", every, "Keys"),
    Route("POST", "/v1/keys", create, "Make a key", status=201),
    Route("DELETE", "/v1/keys/{id}", revoke, "Revoke a key"),
    Route("GET", "/v1/usage", used, "Tokens and money"),
)
