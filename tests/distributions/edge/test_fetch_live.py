"""A device fetches from a platform: its routes, over sockets, by the link that it has."""

import threading
import time
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest

from argosy.api import transfers
from argosy.edge import delta, statement, wire
from argosy.edge.delta import hexed
from argosy.spec.settings import Home, Settings
from argosy.store import open_store
from argosy.store.fleets import Assignment, Deployment, Fleet
from argosy.store.ledger import Cause
from argosy.store.store import Store
from argosy_edge import remote
from argosy_edge.clock import Clock
from argosy_edge.errors import NotFound, Unavailable
from argosy_edge.fetch import Fetcher, Interrupted, Stale
from argosy_edge.identity import Identity
from argosy_edge.link import Link
from argosy_edge.spool import Spool
from argosy_edge.transfer import hashed
from argosy_edge.wire import TransferPlan, Update, UpdateFile
from tests.distributions.edge.test_fetch import NEW, OLD, PATH
from tests.distributions.edge.test_link import enrolled
from tests.edge.platforms import platform
from tests.edge.test_delta import InProcess, put


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Store]:
    monkeypatch.setattr(delta, "Child", InProcess)
    monkeypatch.setattr(delta, "LEVEL", 1)
    found = open_store(Home(tmp_path / "platform"), Settings())
    found.fleets.create(Fleet(name="cars", created=time.time()), Cause())
    yield found
    found.close()


@pytest.fixture
def link(store: Store, tmp_path: Path) -> Iterator[Link]:
    with platform(store) as url:
        yield enrolled(store, url, Identity(tmp_path / "identity"))


def deployed(store: Store, package: str) -> list[UpdateFile]:
    """Have the device `a` run a package; its files."""
    number, now = store.fleets.next_number("cars"), time.time()
    update = wire.Update(fleet="cars", index=number, ref="m:1", package=package, files=(), manifest={})
    envelope = msgspec.json.encode(statement.seal(update, store.fleet_keys.current))
    store.fleets.deploy(
        Deployment(
            fleet="cars", number=number, ref="m:1", package=package, envelope=envelope, created=now, changed=now
        ),
        Cause(),
    )
    store.fleets.assign([Assignment(device="a", deployment=number, fleet="cars", offered=now, changed=now)])
    return [
        UpdateFile(path=path, size=each.size, sha256=hexed(each)) for path, each in store.layout.files(package).items()
    ]


def planned(link: Link, package: str, *have: str) -> TransferPlan:
    """As soon as the ways are made."""
    for _ in range(1200):
        try:
            return link.plan(package, have)
        except Unavailable:
            threading.Event().wait(0.05)
    raise AssertionError


def test_a_package_then_what_changed_of_it(store: Store, link: Link, tmp_path: Path) -> None:
    old, new = put(store.layout, tmp_path / "1", OLD), put(store.layout, tmp_path / "2", NEW)
    files = deployed(store, old)
    fetcher = Fetcher(link, tmp_path / "parts")
    fetcher.fetch(files, planned(link, old))
    fetcher.assemble(files, tmp_path / "a")
    assert (tmp_path / "a" / PATH).read_bytes() == OLD
    whole = fetcher.counts.sent
    fetcher.forget()
    with pytest.raises(NotFound):
        link.plan(new, [old])
    files, have = deployed(store, new), {hashed(each): each for each in (tmp_path / "a").rglob("*") if each.is_file()}
    fetcher.fetch(files, planned(link, new, old), have)
    fetcher.assemble(files, tmp_path / "b", have)
    assert (tmp_path / "b" / PATH).read_bytes() == NEW
    assert fetcher.counts.again == 0
    assert fetcher.counts.sent < whole


def test_the_agent_waits_for_ways_that_are_being_made(
    store: Store, link: Link, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(remote, "EACH", 0.05)
    monkeypatch.setattr(remote, "PLANNING", 1200)
    package = put(store.layout, tmp_path / "1", OLD)
    files = tuple(deployed(store, package))
    update = Update(fleet="cars", index=1, ref="m:1", package=package, files=files, manifest={})
    enrolled = Identity(tmp_path / "identity").enrolled
    assert enrolled is not None
    clock = Clock(tmp_path / "clock", 1)
    agent = remote.Remote(link, enrolled, clock, Spool(tmp_path / "spool", clock))
    (parts := tmp_path / "parts").mkdir()
    agent.fetch(update, parts, {}, threading.Event())
    agent.assemble(update, parts, tmp_path / "a", {})
    assert (tmp_path / "a" / PATH).read_bytes() == OLD
    stop = threading.Event()
    stop.set()
    with pytest.raises(NotFound):
        agent.fetch(msgspec.structs.replace(update, package="sha256:" + "0" * 64), parts, {}, stop)


def test_a_platform_that_is_full_or_has_forgotten(
    store: Store, link: Link, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    package = put(store.layout, tmp_path / "1", OLD)
    files = deployed(store, package)
    plan, fetcher = planned(link, package), Fetcher(link, tmp_path / "parts", sleep=lambda _: None)
    with monkeypatch.context() as patched:
        patched.setattr(transfers, "STREAMS", 0)
        with pytest.raises(Interrupted, match="503"):
            fetcher.fetch(files, plan)
    kept = store.home.cache / "transfers"
    kept.rename(tmp_path / "away")
    with pytest.raises(Stale):
        fetcher.fetch(files, plan)
    fetcher.fetch(files, planned(link, package))
    fetcher.assemble(files, tmp_path / "a")
