"""A holder of a plan for the pages: this platform, a region that is well, one that drains, one that is away."""

from types import SimpleNamespace
from typing import Any

from argosy.regions.holder import RegionState
from argosy.regions.wire import RegionEndpoint, RegionReport
from argosy.store.database import Database
from argosy.store.ledger import Cause
from argosy.store.regions import Region, RegionStore


def holder(database: Database, now: float, hostile: str) -> Any:
    """What the pages ask of it."""
    store, states = RegionStore(database), dict[str, RegionState]()
    for name, problem in (("west", ""), ("south", ""), ("far", f"{hostile} does not answer")):
        store.add(Region(name=name, url=f"https://{name}.example:7070", token="t", added=now), Cause())
        bad = f"{hostile} is not ready" if name == "south" else ""
        endpoints = {
            "fraud": RegionEndpoint(state="ready", version="fraud:2", replicas=3, ready=3, rate=12.5, hourly=6.0),
            "roads": RegionEndpoint(state="failed", version="roads:1", replicas=2, ready=1, problem=bad, hourly=1.5),
        }
        report = RegionReport(region=name, version="1", now=now, gateway=f"http://{name}:8080", endpoints=endpoints)
        states[name] = RegionState(heard=now, problem=problem, report=report)
    store.place("west", {"fraud": 3}, Cause())
    store.drain("south", True, Cause())
    regions = {each.name: each for each in store.every()}
    return SimpleNamespace(
        own="here",
        draining=set(),
        regions=regions,
        states=states,
        store=store,
        placements=store.placements(),
        load=lambda: None,
    )
