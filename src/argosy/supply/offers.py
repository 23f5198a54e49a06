"""One list of offers over all providers: catalogues that were read, what providers say live, what was learned."""

import asyncio
import hashlib
import logging
import re
import statistics
import time
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from email.utils import parsedate_to_datetime
from functools import cache
from pathlib import Path

import msgspec

from argosy.process.repeat import repeat
from argosy.spec.errors import ArgosyError, InvalidArgument, NotFound, Unavailable
from argosy.spec.offer import Market, Offer
from argosy.spec.supply import SupplySettings
from argosy.store import offers as store
from argosy.store.database import Database
from argosy.store.hosts import evicted
from argosy.store.offers import Catalogue
from argosy.supply import catalogue, external
from argosy.supply.learned import Knowledge
from argosy.supply.provider import Provider

LOG = logging.getLogger(__name__)
TIMEOUT = 30.0
SHRUNK = 0.5
"""A catalogue with less than this share of the offers of before is not believed."""
JUMP = 3.0
"""Nor is one whose prices have changed by this factor, at the median."""


class OfferQuery(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Which offers: of a `gpu` (any name of it), with `count` of them at least, in a `market`, in a `region` (its name,
    a part of it, or eu, us, asia), of a `provider`. `most` of them, the cheapest for what is asked first."""

    gpu: str = ""
    count: int = 1
    market: Market | None = None
    region: str = ""
    provider: str = ""
    most: int = 50

    def __post_init__(self) -> None:
        if not 1 <= self.count <= catalogue.MOST_GPUS or not 1 <= self.most <= 100_000:
            raise InvalidArgument(f"count must be 1 to {catalogue.MOST_GPUS}, most 1 to 100000")


def refresh(database: Database, settings: SupplySettings, now: float | None = None) -> list[Catalogue]:
    """Read every catalogue of the settings anew. One that cannot be read, or cannot be true, keeps what it had, and
    says why; the others do not wait for it."""
    moment = time.time() if now is None else now
    known = {each.provider: each for each in store.catalogues(database)}
    sources = sorted(settings.catalogues.items())
    with ThreadPoolExecutor(max_workers=8) as pool:
        jobs = [pool.submit(_read, name, place, settings, known.get(name), moment) for name, place in sources]
        found = [job.result() for job in jobs]
    for each in found:
        store.keep(database, each)
    store.forget(database, moment)
    return found


async def keep_fresh(database: Database, settings: SupplySettings) -> None:
    """Have the catalogues read anew every `supply.refresh` seconds, until cancelled."""
    tried = {each.provider: each.tried for each in await asyncio.to_thread(store.catalogues, database)}
    oldest = min((tried.get(name, 0.0) for name in settings.catalogues), default=0.0)
    await asyncio.sleep(max(0.0, min(oldest + settings.refresh - time.time(), settings.refresh)))
    await repeat(
        lambda: asyncio.to_thread(refresh, database, settings), settings.refresh, "reading the catalogues", LOG
    )


def _read(name: str, source: str, settings: SupplySettings, before: Catalogue | None, now: float) -> Catalogue:
    old = before if before is not None else Catalogue(provider=name, source=source)
    try:
        data, as_of = _fetch(source, now)
        version = hashlib.sha256(data).hexdigest()
        prices = catalogue.read(data, name, as_of, settings.untrusted)
        if old.offers and old.source == source:
            _check(name, old.offers, prices.offers)
    except (ArgosyError, OSError) as error:
        text = error.message if isinstance(error, ArgosyError) else f"{source} cannot be read: {error.strerror}"
        return msgspec.structs.replace(old, tried=now, error=text)
    return Catalogue(
        provider=name, source=source, version=version, at=now, tried=now, offers=prices.offers, refused=prices.refused
    )


def _fetch(source: str, now: float) -> tuple[bytes, float]:
    """What stands there, and since when. Raises NotFound, Unavailable, OSError."""
    if source.startswith("/"):
        path = Path(source)
        return path.read_bytes() if path.stat().st_size <= catalogue.MOST_BYTES else b"", path.stat().st_mtime
    import httpx

    data = bytearray()
    try:
        with httpx.stream("GET", source, timeout=TIMEOUT, follow_redirects=False) as answer:
            if answer.status_code != 200:
                raise NotFound(f"{source} answered {answer.status_code}")
            for part in answer.iter_bytes():
                data += part
                if len(data) > catalogue.MOST_BYTES:
                    raise InvalidArgument(f"{source} has more than {catalogue.MOST_BYTES} bytes")
            modified = answer.headers.get("last-modified", "")
    except httpx.HTTPError as error:
        raise Unavailable(f"{source} does not answer: {error}") from None
    try:
        return bytes(data), min(now, parsedate_to_datetime(modified).timestamp())
    except (ValueError, TypeError):
        return bytes(data), now


def _check(name: str, old: Sequence[Offer], new: Sequence[Offer]) -> None:
    """Raises InvalidArgument for a catalogue that has lost most of its offers, or whose prices are others at once: more
    likely its collector is broken."""
    if len(new) < SHRUNK * len(old):
        raise InvalidArgument(
            f"the catalogue of '{name}' has {len(new)} offers, and had {len(old)}: it is not believed"
        )
    before = {(each.region, each.zone, each.instance, each.market): each.price for each in old}
    places = ((before.get((each.region, each.zone, each.instance, each.market)), each.price) for each in new)
    factors = [price / was for was, price in places if was]
    factor = statistics.median(factors) if factors else 1.0
    if not 1 / JUMP <= factor <= JUMP:
        raise InvalidArgument(f"the prices of '{name}' are {factor:.2f} times those of before: they are not believed")


def every(database: Database, settings: SupplySettings, providers: Iterable[Provider] = ()) -> list[Offer]:
    """All offers there are, with what was learned. A provider that does not answer offers nothing, and a host
    that is evicted is no offer."""
    now = time.time()
    known = Knowledge(store.learned(database, now - store.DAYS * 86400), now)
    found = [
        offer for each in store.catalogues(database) for offer in each.offers if each.provider in settings.catalogues
    ]
    found += external.offers(settings.external, now)
    for provider in providers:
        try:
            found += provider.offers()
        except ArgosyError:
            continue
    gone = {name for each in evicted(database).values() for name in each.names}
    return [known.of(offer) for offer in found if offer.instance.rpartition("@")[2] not in gone]


def select(offers: Iterable[Offer], query: OfferQuery) -> list[Offer]:
    """The offers that fit, the cheapest first. A machine has one price for all its GPUs: what stays unused is paid."""
    gpu = catalogue.gpu_name(query.gpu) if query.gpu else ""
    if gpu is None:
        raise InvalidArgument(
            f"the GPU '{query.gpu[:40]}' is not known: there are {', '.join(catalogue.tables()['gpus'])}"
        )
    fit = [
        offer
        for offer in offers
        if (not query.gpu or (offer.gpu == gpu and offer.count >= query.count))
        and (query.market is None or offer.market == query.market)
        and (not query.provider or offer.provider == query.provider)
        and (not query.region or within(offer.region, query.region) or within(offer.zone, query.region))
    ]
    return sorted(fit, key=lambda offer: (offer.price, offer.provider, offer.region, offer.zone))[: query.most]


def within(region: str, wanted: str) -> bool:
    """Whether a region, as a provider names it, is the wanted one or lies in it: eu has eu-west-1, FIN-02 and DE."""
    wanted, name = wanted.lower(), region.lower()
    begins = len(wanted) > 1 and any(word.startswith(wanted) for word in _words(name))
    return begins or name.startswith(wanted) or bool(_areas(wanted) & _words(name))


@cache
def _areas(name: str) -> frozenset[str]:
    """The words by which regions lie in an area."""
    return frozenset([name, *catalogue.tables()["areas"].get(name, "").split()])


@cache
def _words(name: str) -> frozenset[str]:
    return frozenset(re.findall(r"[a-z]+", name))
