"""`argosy offers`, with the handlers of the API behind it and no platform."""

import asyncio
import json
import re
import types

import msgspec
import pytest

from argosy.api import offers as api
from argosy.cli import offers as cli
from argosy.spec.errors import InvalidArgument
from argosy.spec.settings import Settings
from argosy.spec.supply import SupplySettings
from argosy.store import offers as stored
from argosy.store import open_store
from argosy.store.offers import Learned
from argosy.supply.offers import OfferQuery

HEADER = "InstanceType,AcceleratorName,AcceleratorCount,vCPUs,MemoryGiB,Price,SpotPrice,Region\n"


@pytest.fixture
def catalogue(place, monkeypatch, tmp_path):
    """The file of the only catalogue; commands reach the handlers."""
    path = tmp_path / "vms.csv"
    store = open_store(place, Settings())
    settings = Settings(supply=SupplySettings(catalogues={"cloud": str(path)}))
    launcher = types.SimpleNamespace(providers={})
    services = types.SimpleNamespace(store=store, settings=settings, launcher=launcher)

    class Client:
        def get(self, path, **query):
            query = {name: value for name, value in query.items() if value is not None}
            asked = api.every(services, OfferQuery(**query)) if path == "/v1/offers" else api.catalogues(services)
            return msgspec.to_builtins(asyncio.run(asked))

        def post(self, path):
            return msgspec.to_builtins(asyncio.run(api.refresh(services)))

    monkeypatch.setattr(cli, "control", Client)
    yield path, store.database
    store.close()


def test_nothing_was_read_yet(run, catalogue):
    assert run("offers").stdout == "no catalogue was read:  argosy offers --refresh\n"
    assert run("offers", "--catalogues").stdout == "no catalogue was read:  argosy offers --refresh\n"


def test_the_cheapest_first_with_the_age_of_its_price(run, catalogue):
    path, _ = catalogue
    path.write_text(f"{HEADER}a,H100,8,8,64,16,8,r\nb,L4,1,4,16,0.8,,r\nc,,0,2,4,0.1,,r\n")
    lines = run("offers", "--refresh").stdout.splitlines()[1:]
    assert [line.split()[2] for line in lines] == ["c", "b", "a", "a"]
    assert "8x H100 80 GiB" in lines[2]
    assert lines[2].split()[-5:-2] == ["spot", "8.000", "1.000"]
    found = json.loads(run("offers", "--gpu", "h100", "--count", "2", "--spot", "--json").stdout)
    assert [(each["price"], each["market"], each["count"]) for each in found] == [(8.0, "spot", 8)]
    assert run("offers", "--region", "eu").stdout == "nothing is offered like that\n"


def test_what_failed_what_was_refused_and_what_was_wrong_is_said(run, catalogue):
    path, database = catalogue
    path.write_text(f"{HEADER}a,H100,8,8,64,16,8,r\nb,L4,1,4,16,-1,,r\n")
    run("offers", "--refresh")
    row = Learned(
        provider="cloud", region="r", zone="", instance="a", market="spot", hour=0, started=1, listed=8, paid=9
    )
    hour = int(stored.catalogues(database)[0].at) // 3600 * 3600
    with database.begin() as connection:
        stored.count(connection, [msgspec.structs.replace(row, hour=hour)])
    path.unlink()
    result = run("offers", "--refresh", "--catalogues")
    gone = re.escape(f"cloud: {path} cannot be read: No such file or directory; its offers are ")
    assert re.search(rf"{gone}\d+ s old", result.stderr)
    assert "cloud r a: what was paid is 1.12 times what the catalogue says" in result.stderr
    assert "cloud: 1 row refused, the first in line 3: the price is negative" in result.stderr
    assert result.stdout.splitlines()[1].split()[:2] == ["cloud", "2"]


def test_a_gpu_that_nobody_knows(run, catalogue):
    result = run("offers", "--gpu", "Z9")
    assert result.exit_code == InvalidArgument.exit
    assert "the GPU 'Z9' is not known" in result.stderr
