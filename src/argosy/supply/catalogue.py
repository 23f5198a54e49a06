"""Catalogues of prices as files: SkyPilot's `vms.csv`, gpuhunt's CSV, and a plain one. Pure.

A row is an offer as a whole, or it is none: no price of one region is joined with that of another. What cannot be true
is refused, row by row, and counted by its reason. Where machine and GPU are priced apart (Google's rows), both prices
are those of one zone.
"""

import ast
import csv
import io
import math
import re
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

from msgspec.structs import replace

from argosy.spec.errors import InvalidArgument
from argosy.spec.offer import Market, Offer
from argosy.store.offers import RefusedRows

GIB = 1024**3
MOST_BYTES = 64 * 1024**2
MOST_ROWS = 500_000
MOST_REASONS = 100
DEAREST = 2000.0
"""US dollars per hour of a machine; no price above it is believed."""
PER_GPU = (0.005, 150.0)
"""US dollars per hour of one GPU that are believed."""
MOST_GPUS = 128
MEMORY = (0.7, 2.2)
"""What a row may say of a GPU's memory, as a share of what is known of it."""
FORM = r"((16|24|32|40|48|80|94|96|141|180|192)GB|HBM\d[A-Z]?|SXM\d?|PCIE|NVL|(SERVER|WORKSTATION)EDITION)$"
"""What stands behind a GPU's name and makes it no other GPU for us."""
NO_DISCOUNT = 0.999
"""Of the price on demand: spot at this share or above has no discount, and is no offer."""


class Prices(NamedTuple):
    """What a file offers, and what it says that is no offer."""

    offers: tuple[Offer, ...]
    refused: tuple[RefusedRows, ...]


class _Row(NamedTuple):
    """A row that is believed: an offer but for its price, and the prices by market. Without an `instance` it prices a
    GPU alone."""

    line: int
    offer: Offer
    prices: dict[Market, float]


@cache
def tables() -> dict[str, Any]:
    """`catalogue.toml`."""
    return tomllib.loads(Path(__file__).with_suffix(".toml").read_text())


def read(data: bytes, provider: str, as_of: float, untrusted: Sequence[str] = ()) -> Prices:
    """The offers of a file. Raises InvalidArgument where it is no catalogue, or has no offer that can be believed."""
    where = f"the catalogue of '{provider}'"
    if len(data) > MOST_BYTES:
        raise InvalidArgument(f"{where} has {len(data)} bytes, more than {MOST_BYTES}")
    tally = _Tally()
    rows = list(_rows(data, provider, where, tally))
    gpus = {_priced_apart(row.offer, row.offer.gpu, row.offer.count): row for row in rows if not row.offer.instance}
    best: dict[tuple[object, ...], Offer] = {}
    for row in rows:
        try:
            row = _whole(row, gpus) if row.offer.instance else row._replace(prices={})
        except ValueError as reason:
            tally.add(str(reason), row.line)
            continue
        for market, price in row.prices.items():
            trusted = row.offer.provider not in untrusted
            offer = replace(row.offer, market=market, price=price, as_of=as_of, trusted=trusted)
            key = (offer.provider, offer.region, offer.zone, offer.instance, offer.gpu, offer.count, market)
            if key in best:
                tally.add("it stands there twice: the dearer one counts", row.line)
            if key not in best or price > best[key].price:
                best[key] = offer
    if not best:
        first = f", the first: {tally.refused()[0].reason}" if tally.refused() else ""
        raise InvalidArgument(f"{where} has no offer: {tally.total} of its rows were refused{first}")
    return Prices(tuple(best.values()), tally.refused())


class _Tally:
    """Rows that are no offers, by reason."""

    def __init__(self) -> None:
        self.total, self._found = 0, dict[str, tuple[int, int]]()

    def add(self, reason: str, line: int) -> None:
        self.total += 1
        if reason not in self._found and len(self._found) >= MOST_REASONS:
            reason = "other reasons"
        count, first = self._found.get(reason, (0, line))
        self._found[reason] = (count + 1, first)

    def refused(self) -> tuple[RefusedRows, ...]:
        """The most frequent reason first."""
        found = sorted(self._found.items(), key=lambda each: (-each[1][0], each[0]))
        return tuple(RefusedRows(reason=reason, count=count, line=line) for reason, (count, line) in found)


def _rows(data: bytes, provider: str, where: str, tally: _Tally) -> Iterator[_Row]:
    """What can be believed of a file."""
    try:
        lines = csv.reader(io.StringIO(data.decode("utf-8-sig"), newline=""), strict=True)
        header = [name.strip() for name in next(lines, list[str]())]
        form = next((form for form in tables()["forms"].values() if form["instance"] in header), None)
        if form is None or form["region"] not in header or form["price"] not in header:
            known = ", ".join(
                f"{form['instance']}, {form['region']}, {form['price']}" for form in tables()["forms"].values()
            )
            raise InvalidArgument(f"{where} has no columns that are known: its first line needs one of these: {known}")
        places = {field: header.index(name) for field, name in form.items() if name in header}
        for number, cells in enumerate(lines, 1):
            if number > MOST_ROWS:
                raise InvalidArgument(f"{where} has more than {MOST_ROWS} rows")
            if not cells:
                continue
            if len(cells) != len(header):
                tally.add("it has more or fewer cells than the first line", lines.line_num)
                continue
            try:
                yield _row({field: cells[place].strip() for field, place in places.items()}, lines.line_num, provider)
            except ValueError as reason:
                tally.add(str(reason), lines.line_num)
    except (UnicodeDecodeError, csv.Error) as error:
        raise InvalidArgument(f"{where} is no CSV in UTF-8: {error}") from None


def _row(cell: Mapping[str, str], line: int, provider: str) -> _Row:
    """One row. Raises ValueError with the reason for which it is none."""
    region = cell["region"]
    instance = cell["instance"]
    if not region or not region.isprintable() or not instance.isprintable() or len(region) + len(instance) > 200:
        raise ValueError("it has no region, or a name that cannot be printed or is too long")
    count = _number(cell.get("count", ""), "the count of GPUs")
    if count != int(count):
        raise ValueError("it is a part of a GPU")
    if count > MOST_GPUS:
        raise ValueError(f"it has more than {MOST_GPUS} GPUs")
    gpu, gpu_memory = "", 0
    if cell.get("gpu") or count:
        if count < 1:
            raise ValueError("it names a GPU, and has none")
        gpu, gpu_memory = _gpu(cell, int(count))
    cpus, memory = _number(cell.get("cpus", ""), "vCPUs"), _number(cell.get("memory", ""), "memory")
    if cpus > 4096 or memory > 65536:
        raise ValueError("it has more vCPUs or memory than any machine")
    offer = Offer(
        provider=cell.get("provider") or provider,
        region=region,
        zone=cell.get("zone", ""),
        instance=instance,
        price=0.0,
        gpu=gpu,
        count=int(count),
        gpu_memory=gpu_memory,
        cpus=cpus,
        memory=int(memory * GIB),
    )
    return _Row(line, offer, _prices(cell, int(count)))


def _number(text: str, what: str) -> float:
    """0 where nothing is said. Raises ValueError."""
    try:
        value = float(text or 0)
    except ValueError:
        raise ValueError(f"{what} is no number") from None
    if not math.isfinite(value):
        raise ValueError(f"{what} is no number")
    if value < 0:
        raise ValueError(f"{what} is negative")
    return value


def _prices(cell: Mapping[str, str], count: int) -> dict[Market, float]:
    """By market. Raises ValueError where a price cannot be true, or there is none."""
    price, spot = _number(cell["price"], "the price"), _number(cell.get("spot", ""), "the spot price")
    said: dict[Market, float] = {"on_demand": price, "spot": spot}
    if "market" in cell:
        said = {"spot" if cell["market"].lower() == "true" else "on_demand": price}
    prices: dict[Market, float] = {market: price for market, price in said.items() if price}
    if not prices:
        raise ValueError("it has no price")
    low, high = PER_GPU
    for each in prices.values():
        if each > DEAREST or (count and not low <= each / count <= high):
            raise ValueError("its price cannot be true")
    if 0 < price * NO_DISCOUNT <= spot:
        del prices["spot"]  # no discount: the same machine, and it can be taken away
    return prices


def _gpu(cell: Mapping[str, str], count: int) -> tuple[str, int]:
    """The name of its GPU, and the memory of one in bytes. Raises ValueError."""
    gpus, sizes = tables()["gpus"], tables()["sizes"]
    name = gpu_name(cell.get("gpu", ""))
    if name is None:
        raise ValueError(f"the GPU '{cell.get('gpu', '')[:40]}' is not known")
    given = _number(cell.get("gpu_memory", ""), "the memory of its GPU") or _memory_of(cell.get("info", ""), count)
    if given and name in sizes and given >= sizes[name][0]:
        name = sizes[name][1]
    known = gpus[name]
    if given and not MEMORY[0] <= given / known <= MEMORY[1]:
        raise ValueError(f"its {name} would have {given:.0f} GiB, and has {known}")
    return name, int((given or known) * GIB)


def gpu_name(text: str) -> str | None:
    """The name that offers have for a GPU, of any that vendors and providers use; None where it is not known."""
    plain, before = re.sub(r"[^A-Z0-9]|NVIDIA|AMD|GEFORCE|TESLA|INSTINCT", "", text.upper()), ""
    while plain not in _names() and plain != before:
        plain, before = re.sub(FORM, "", plain), plain
    return _names().get(plain)


@cache
def _names() -> dict[str, str]:
    """Name without signs → name."""
    return {re.sub(r"[^A-Z0-9]", "", name.upper()): name for name in tables()["gpus"]} | tables()["aliases"]


def _memory_of(info: str, count: int) -> float:
    """GiB of one GPU, of what SkyPilot's rows say of all: some say the sum for each, and some GiB for MiB, so that only
    the total is read. 0 where nothing is said."""
    try:
        total = float(ast.literal_eval(info[:4096])["TotalGpuMemoryInMiB"])
    except (ValueError, SyntaxError, TypeError, KeyError, RecursionError, MemoryError):
        return 0.0
    each = total / count if math.isfinite(total) and total > 0 else 0.0
    return each if each < 1024 else each / 1024


def _priced_apart(offer: Offer, gpu: str, count: int) -> tuple[object, ...]:
    """By what the price of a GPU is found that is not in that of its machine."""
    return offer.provider, offer.region, offer.zone, gpu, count


def _whole(row: _Row, gpus: Mapping[tuple[object, ...], _Row]) -> _Row:
    """A row with its GPUs, where those are priced apart: of the same zone, and only in markets in which there are both.
    Raises ValueError where its GPUs have no price there."""
    matches = ((host, re.fullmatch(host["pattern"], row.offer.instance)) for host in tables()["hosts"])
    found = next(((host, match[1]) for host, match in matches if match), None)
    if row.offer.gpu or found is None:
        return row
    host, size = found
    count = int(host["sizes"].get(size, 0) if "sizes" in host else size)
    gpu = gpus.get(_priced_apart(row.offer, host["gpu"], count))
    prices = {} if gpu is None else {m: p + gpu.prices[m] for m, p in row.prices.items() if m in gpu.prices}
    if gpu is None or not prices:
        raise ValueError(f"its {host['gpu']} have no price in its zone")
    if prices.get("spot", 0.0) >= prices.get("on_demand", math.inf) * NO_DISCOUNT:
        del prices["spot"]
    whole = replace(row.offer, gpu=gpu.offer.gpu, count=count, gpu_memory=gpu.offer.gpu_memory)
    return row._replace(offer=whole, prices=prices)
