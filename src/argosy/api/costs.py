"""`/v1/costs`: what endpoints cost, by what it was for."""

import asyncio
import time
from collections.abc import Iterable, Mapping

import msgspec

from argosy.api.route import Route, Services
from argosy.api.usage import check_parts, place_of
from argosy.spec.offer import CostRow
from argosy.store import costs
from argosy.store.costs import HOUR, RETENTION, CostHour

PARTS = ("endpoint", "version", "key", "region", "use", "day", "hour")


class CostQuery(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The last `since` seconds, in whole hours; `by` has some of endpoint, version, key, region, use, day and hour,
    with commas."""

    since: int = 30 * 86400
    by: str = "endpoint"

    def __post_init__(self) -> None:
        check_parts(self.since, RETENTION, self.by, PARTS)


class Cost(msgspec.Struct, frozen=True, kw_only=True):
    """What it cost, in dollars: `cost` is the sum of what went to `work` (requests), `candidate`, `batch`, `startup`,
    `idle`, `shared` and `credit`. What is not told apart is empty; `name` is the key's. `per_request` and
    `per_1k_tokens` are of `work` alone, None without any."""

    endpoint: str = ""
    version: str = ""
    key: str = ""
    name: str = ""
    region: str = ""
    use: str = ""
    day: str = ""
    hour: str = ""
    seconds: float = 0.0
    cost: float = 0.0
    requests: int = 0
    tokens: int = 0
    work: float = 0.0
    candidate: float = 0.0
    batch: float = 0.0
    startup: float = 0.0
    idle: float = 0.0
    shared: float = 0.0
    credit: float = 0.0
    per_request: float | None = None
    per_1k_tokens: float | None = None


class Costs(msgspec.Struct, frozen=True, kw_only=True):
    """`rows`, the oldest first, and their `total`; of the hours that are closed, those that do not agree (`problems`),
    and the sums of all: `booked` by rows, `billed` by price times time, `unread` seconds. Endpoints without a price are
    `unpriced`: nothing of them is counted. `rates` are what other currencies are worth, as declared."""

    rows: list[Cost]
    total: float
    hours: int
    booked: float
    billed: float
    unread: float
    problems: list[CostHour]
    unpriced: tuple[str, ...]
    rates: dict[str, float] = {}


async def read(services: Services, query: CostQuery) -> Costs:
    """What was spent."""
    return await asyncio.to_thread(_read, services, query)


def _read(services: Services, query: CostQuery) -> Costs:
    now, database = time.time(), services.store.database
    since, until = int(now - query.since) // HOUR * HOUR, int(now) + HOUR
    names = {each.id: each.name for each in services.store.keys.list()}
    rows, hours = costs.read(database, since, until), costs.hours(database, since, until)
    return Costs(
        rows=grouped(rows, query.by.split(","), names),
        total=sum(each.cost for each in rows),
        hours=len(hours),
        booked=sum(each.booked for each in hours),
        billed=sum(each.billed for each in hours),
        unread=sum(each.unread for each in hours),
        problems=[each for each in hours if each.problem],
        unpriced=services.costs.unpriced,
        rates=services.settings.cost.rates,
    )


def grouped(rows: Iterable[CostRow], parts: Iterable[str], names: Mapping[str, str]) -> list[Cost]:
    """Rows added up by some of `PARTS`."""
    told = set(parts)
    groups: dict[tuple[str, ...], list[CostRow]] = {}
    for row in rows:
        place = place_of(row, ("endpoint", "version", "key", "region", "use"), told)
        groups.setdefault(place, []).append(row)
    return [_sum(place, each, names) for place, each in sorted(groups.items(), key=lambda group: group[0])]


def _sum(place: tuple[str, ...], rows: list[CostRow], names: Mapping[str, str]) -> Cost:
    day, hour, endpoint, version, key, region, use = place
    uses = dict.fromkeys(("requests", "candidate", "batch", "startup", "idle", "shared", "credit"), 0.0)
    for row in rows:
        uses[row.use] += row.cost
    work = uses.pop("requests")
    requests, tokens = sum(row.requests for row in rows), sum(row.tokens for row in rows)
    return Cost(
        endpoint=endpoint,
        version=version,
        key=key,
        name=names.get(key, ""),
        region=region,
        use=use,
        day=day,
        hour=hour,
        seconds=sum(row.seconds for row in rows),
        cost=sum(row.cost for row in rows),
        requests=requests,
        tokens=tokens,
        work=work,
        per_request=work / requests if requests else None,
        per_1k_tokens=1000 * work / tokens if tokens else None,
        **uses,
    )


ROUTES = (Route("GET", "/v1/costs", read, "What endpoints cost"),)
