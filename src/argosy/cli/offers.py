"""`argosy offers`."""

from typing import Any

import click

from argosy.cli.base import Command, json_option
from argosy.cli.here import control
from argosy.cli.output import Columns, emit, table
from argosy.console.words import since

GIB = 1024**3
COLUMNS: Columns = {
    "provider": "provider",
    "region": lambda row: " ".join(dict.fromkeys(part for part in (row["region"], row["zone"]) if part)),
    "instance": "instance",
    "gpu": lambda row: f"{row['count']}x {row['gpu']} {row['gpu_memory'] / GIB:.0f} GiB" if row["gpu"] else "–",
    "cpus": ("cpus", lambda cpus: f"{cpus:g}"),
    "memory": ("memory", lambda memory: f"{memory / GIB:.0f} GiB"),
    "market": ("market", lambda market: market.replace("_", " ")),
    "$/h": ("price", lambda price: f"{price:,.3f}"),
    "$/gpu·h": lambda row: f"{row['price'] / row['count']:,.3f}" if row["count"] else "",
    "available": ("available", lambda share: "" if share is None else f"{share:.0%}"),
    "ready": ("ready", lambda seconds: "" if seconds is None else f"{seconds:.0f} s"),
    "age": lambda row: since(row["as_of"]),
}
OUTSIDE: Columns = {
    "provider": "provider",
    "region": "region",
    "endpoints": "endpoints",
    "$/request": ("request", lambda dollars: f"{dollars:.6f}"),
    "budget $/day": ("budget", lambda dollars: f"{dollars:,.2f}"),
    "spent today": ("spent", lambda dollars: f"{dollars:,.4f}"),
}
SOURCES: Columns = {
    "provider": "provider",
    "offers": "offers",
    "age": lambda row: since(row["at"]) or "never read",
    "refused": lambda row: sum(each["count"] for each in row["refused"]),
    "source": "source",
}


@click.command(cls=Command)
@click.option("--gpu", metavar="NAME", default="", help="Machines with this GPU, as in H100.")
@click.option("--count", type=int, default=1, show_default=True, help="With so many of them at least.")
@click.option("--spot/--on-demand", "spot", default=None, help="One market alone.")
@click.option("--region", metavar="NAME", default="", help="A region, the beginning of its name, or eu, us, asia.")
@click.option("--provider", metavar="NAME", default="", help="One provider alone.")
@click.option("--most", type=int, default=20, show_default=True, help="So many offers at most.")
@click.option("--refresh", is_flag=True, help="Read every catalogue anew, first.")
@click.option("--catalogues", is_flag=True, help="Where prices are from, what was refused, and what was wrong.")
@click.option("--external", is_flag=True, help="Providers that requests overflow to, and what they have cost today.")
@json_option
def offers(
    gpu: str,
    count: int,
    spot: bool | None,
    region: str,
    provider: str,
    most: int,
    refresh: bool,
    catalogues: bool,
    external: bool,
    as_json: bool,
) -> None:
    """What machines cost, over all providers: the cheapest first, with the age of each price.

    Prices are US dollars an hour of the whole machine. Catalogues are those of `supply.catalogues` in config.yaml; one
    that cannot be read, or is not believed, keeps what it had. Available and ready are learned from launches. JSON: a
    list of {provider, region, zone, instance, market, price, gpu, count, gpu_memory, cpus, memory, as_of, source,
    available, ready, trusted}; with --catalogues, of {provider, source, version, at, tried, error, offers, refused,
    wrong}; with --external, of {provider, region, endpoints, request, budget, spent}.

    \b
    Example:
      argosy offers --refresh --gpu H100 --count 2 --spot --region eu
      argosy offers --catalogues
    """
    client = control()
    if external:
        found = client.get("/v1/external")
        emit(found, as_json, lambda: table(OUTSIDE, found, "supply.external in config.yaml names nobody"))
        return
    sources: list[dict[str, Any]] = client.post("/v1/catalogues") if refresh else client.get("/v1/catalogues")
    for source in sources:
        if source["error"]:
            age = since(source["at"])
            _note(
                f"{source['provider']}: {source['error']}; {f'its offers are {age} old' if age else 'it has no offers'}"
            )
        for wrong in source["wrong"] if catalogues else ():
            place = f"{wrong['provider']} {wrong['region']} {wrong['instance']}"
            _note(f"{place}: what was paid is {wrong['factor']:.2f} times what the catalogue says")
        for refused in source["refused"] if catalogues else ():
            rows = f"{refused['count']} row{'s' if refused['count'] > 1 else ''} refused"
            _note(f"{source['provider']}: {rows}, the first in line {refused['line']}: {refused['reason']}")
    if catalogues:
        emit(sources, as_json, lambda: table(SOURCES, sources, "no catalogue was read:  argosy offers --refresh"))
        return
    market = None if spot is None else "spot" if spot else "on_demand"
    asked = {"gpu": gpu, "market": market, "region": region, "provider": provider}
    found = client.get("/v1/offers", count=count, most=most, **{name: each or None for name, each in asked.items()})
    empty = "nothing is offered like that" if sources else "no catalogue was read:  argosy offers --refresh"
    emit(found, as_json, lambda: table(COLUMNS, found, empty))


def _note(text: str) -> None:
    click.echo(text, err=True)
