"""`/v1/offers`: what providers sell, with what was learned; `/v1/catalogues`: where the prices are from, read anew."""

import asyncio
import time

import msgspec

from argosy.api.route import Route, Services
from argosy.spec.offer import Offer
from argosy.store import offers as store
from argosy.store.offers import RefusedRows
from argosy.supply import external, offers
from argosy.supply.learned import Drift, drifts
from argosy.supply.offers import OfferQuery


class CatalogueStatus(msgspec.Struct, frozen=True, kw_only=True):
    """A catalogue: how many offers it has, when it was read (`at`, `tried`: seconds since 1970), the rows that were
    `refused`, the `error` of the last attempt, and `wrong`, where what was paid is not what it says."""

    provider: str
    source: str
    version: str
    at: float
    tried: float
    error: str
    offers: int
    refused: tuple[RefusedRows, ...]
    wrong: tuple[Drift, ...]


class ExternalStatus(msgspec.Struct, frozen=True, kw_only=True):
    """An external provider: the endpoints that may overflow to it and where it answers, US dollars of a typical request
    (1,000 tokens and 200), of the day's `budget`, and of what was `spent` of it, or is leased to be."""

    provider: str
    region: str
    endpoints: tuple[str, ...]
    request: float
    budget: float
    spent: float


async def every(services: Services, query: OfferQuery) -> list[Offer]:
    """Offers over all providers, the cheapest first."""

    def found() -> list[Offer]:
        providers = services.launcher.providers.values()
        return offers.select(offers.every(services.store.database, services.settings.supply, providers), query)

    return await asyncio.to_thread(found)


async def catalogues(services: Services) -> list[CatalogueStatus]:
    """Every catalogue that was read."""
    return await asyncio.to_thread(_catalogues, services)


async def refresh(services: Services) -> list[CatalogueStatus]:
    """Read every catalogue of the settings anew. One that fails keeps its offers, and says why."""
    await asyncio.to_thread(offers.refresh, services.store.database, services.settings.supply)
    return await catalogues(services)


async def overflow(services: Services) -> list[ExternalStatus]:
    """External providers, with what they have cost today."""
    spent = await asyncio.to_thread(store.spent, services.store.database, int(time.time() // 86400))
    return [
        ExternalStatus(
            provider=name,
            region=each.region or name,
            endpoints=tuple(each.models),
            request=external.price(each, *external.TYPICAL),
            budget=each.budget,
            spent=spent.get(name, 0.0),
        )
        for name, each in services.settings.supply.external.items()
    ]


def _catalogues(services: Services) -> list[CatalogueStatus]:
    database = services.store.database
    wrong = drifts(store.learned(database, time.time() - store.DAYS * 86400))
    return [
        CatalogueStatus(
            provider=each.provider,
            source=each.source,
            version=each.version,
            at=each.at,
            tried=each.tried,
            error=each.error,
            offers=len(each.offers),
            refused=each.refused,
            wrong=tuple(drift for drift in wrong if drift.provider in {offer.provider for offer in each.offers}),
        )
        for each in store.catalogues(database)
        if each.provider in services.settings.supply.catalogues
    ]


ROUTES = (
    Route("GET", "/v1/offers", every, "Offers"),
    Route("GET", "/v1/catalogues", catalogues, "Catalogues of prices"),
    Route("POST", "/v1/catalogues", refresh, "Read the catalogues anew"),
    Route("GET", "/v1/external", overflow, "External providers, and what they have cost today"),
)
