"""Invoices of providers, line by line, beside the ledger of cost. Pure."""

import csv
import math
from collections.abc import Iterable, Mapping
from datetime import UTC, date, datetime
from typing import Any

import msgspec

from argosy.spec.errors import InvalidArgument
from argosy.spec.offer import Launch

DOLLARS = "USD"
FORMATS: dict[str, dict[str, tuple[str, ...]]] = {
    "AWS CUR": {
        "day": ("lineItem/UsageStartDate", "line_item_usage_start_date"),
        "cost": ("lineItem/UnblendedCost", "line_item_unblended_cost"),
        "currency": ("lineItem/CurrencyCode", "line_item_currency_code"),
        "region": ("product/region", "product_region_code", "product_region"),
        "what": ("lineItem/UsageType", "line_item_usage_type"),
        "machine": ("lineItem/ResourceId", "line_item_resource_id"),
    },
    "GCP's export": {
        "day": ("usage_start_time",),
        "cost": ("cost",),
        "currency": ("currency",),
        "region": ("location.region", "location_region"),
        "what": ("sku.description", "sku_description"),
        "machine": ("resource.name", "resource_name", "resource.global_name", "resource_global_name"),
    },
    "plain CSV": {each: (each,) for each in ("cost", "currency", "region", "what", "machine")}
    | {"day": ("date", "day")},
}
"""Format → what we read → the columns that may have it."""


class InvoiceLine(msgspec.Struct, frozen=True, kw_only=True):
    """One line: what was billed for a day, in its currency."""

    number: int
    day: str
    cost: float
    currency: str = DOLLARS
    region: str = ""
    what: str = ""
    machine: str = ""


class Difference(msgspec.Struct, frozen=True, kw_only=True):
    """A day, of a region where the ledger has regions: what `lines` of the invoice bill and what the ledger has, in
    dollars."""

    day: str
    region: str
    lines: int
    invoice: float
    ledger: float
    difference: float


class Billed(msgspec.Struct, frozen=True, kw_only=True):
    """Lines of an invoice with one `machine` and for one thing (`what`), in dollars. `launch` is that of the machine,
    empty where the platform did not launch it; then `ledger` is 0, else its price times its time in the days of the
    invoice, and `what` is empty: its lines are one."""

    machine: str
    launch: str
    what: str
    lines: int
    invoice: float
    ledger: float
    difference: float


def read(text: str) -> list[InvoiceLine]:
    """The lines of an invoice. Raises InvalidArgument, with the line's number."""
    table = csv.DictReader(text.lstrip("\ufeff").splitlines())
    names = set(table.fieldnames or ())
    columns: dict[str, str] = {}
    for known in FORMATS.values():
        columns = {field: next((each for each in of if each in names), "") for field, of in known.items()}
        if columns["day"] and columns["cost"]:
            break
    else:
        wanted = "; ".join(f"{name}: {of['day'][0]} and {of['cost'][0]}" for name, of in FORMATS.items())
        raise InvalidArgument(f"the invoice has none of the columns that are known ({wanted})")
    found: list[InvoiceLine] = []
    for row in table:
        told = {field: (row.get(column) or "").strip() for field, column in columns.items() if column}
        number = table.line_num
        try:
            day, cost = date.fromisoformat(told["day"][:10]).isoformat(), float(told["cost"])
        except ValueError:
            cost, day = math.nan, ""
        if not math.isfinite(cost):
            said = f"'{told['day'][:40]}' and '{told['cost'][:40]}'"
            raise InvalidArgument(f"line {number} of the invoice needs a day and a number, not {said}")
        more = {field: told[field] for field in ("currency", "region", "what") if told.get(field)}
        more |= {"machine": told["machine"].rsplit("/", 1)[-1]} if told.get("machine") else {}
        found.append(InvoiceLine(number=number, day=day, cost=cost, **more))
    if not found:
        raise InvalidArgument("the invoice has no lines")
    return found


def compare(
    lines: Iterable[InvoiceLine], rows: Iterable[Mapping[str, Any]], rates: Mapping[str, float]
) -> list[Difference]:
    """By day, and region where the ledger has some: the invoice beside the ledger, of the days that it bills. Raises
    InvalidArgument for a currency without a rate."""
    lines, rows = list(lines), list(rows)
    apart = any(row["region"] for row in rows)
    billed: dict[tuple[str, str], list[float]] = {}
    for line in lines:
        billed.setdefault((line.day, line.region if apart else ""), []).append(_dollars(line, rates))
    first, last = min(line.day for line in lines), max(line.day for line in lines)
    ours: dict[tuple[str, str], float] = {}
    for row in rows:
        if first <= row["day"] <= last:
            place = row["day"], row["region"]
            ours[place] = ours.get(place, 0.0) + row["cost"]
    return [
        Difference(
            day=place[0],
            region=place[1],
            lines=len(billed.get(place, ())),
            invoice=sum(billed.get(place, ())),
            ledger=ours.get(place, 0.0),
            difference=ours.get(place, 0.0) - sum(billed.get(place, ())),
        )
        for place in sorted({*billed, *ours})
    ]


def machines(lines: Iterable[InvoiceLine], launches: Iterable[Launch], rates: Mapping[str, float]) -> list[Billed]:
    """The lines by the machine that they bill, and by what they are for where it is none of ours; those that differ
    most come first. A launched machine without a line is there as well, if any has one. Raises InvalidArgument for a
    currency without a rate."""
    lines = list(lines)
    begin = _midnight(min(line.day for line in lines))
    end = _midnight(max(line.day for line in lines)) + 86400
    ours: dict[str, tuple[Launch, float]] = {}
    for each in launches:
        until = end if each.ended is None else min(end, each.ended)
        seconds = 0.0 if each.started is None else max(0.0, until - max(begin, each.started))
        if each.machine and seconds:
            ours[each.machine] = each, seconds / 3600 * (each.price or each.offer.price)
    billed: dict[tuple[str, str], list[float]] = {}
    for line in lines:
        what = "" if line.machine in ours else line.what
        billed.setdefault((line.machine, what), []).append(_dollars(line, rates))
    if any(machine in ours for machine, _ in billed):
        billed |= {(machine, ""): [] for machine in ours if (machine, "") not in billed}
    found: list[Billed] = []
    for (machine, what), costs in billed.items():
        launch, ledger = (ours[machine][0].id, ours[machine][1]) if machine in ours else ("", 0.0)
        invoice = sum(costs)
        found.append(
            Billed(
                machine=machine,
                launch=launch,
                what=what,
                lines=len(costs),
                invoice=invoice,
                ledger=ledger,
                difference=ledger - invoice,
            )
        )
    return sorted(found, key=lambda each: (-abs(each.difference), each.machine, each.what))


def _dollars(line: InvoiceLine, rates: Mapping[str, float]) -> float:
    """What a line bills. Raises InvalidArgument for a currency without a rate."""
    rate = 1.0 if line.currency == DOLLARS else rates.get(line.currency, 0.0)
    if not rate:
        currency = line.currency[:10]
        raise InvalidArgument(
            f"line {line.number} of the invoice is in {currency}: say what one is worth in dollars, as in "
            f"cost: {{rates: {{{currency}: 1.1}}}} in config.yaml"
        )
    return line.cost * rate


def _midnight(day: str) -> float:
    return datetime.fromisoformat(day).replace(tzinfo=UTC).timestamp()
