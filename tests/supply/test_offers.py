"""One list of offers: catalogues read anew, those that fail, what is asked for."""

import asyncio
import http.server
import time

import pytest

from argosy.spec.errors import InvalidArgument, Unavailable
from argosy.spec.offer import Offer
from argosy.spec.settings import Home, Settings
from argosy.spec.supply import SupplySettings
from argosy.store import offers as stored
from argosy.store import open_store
from argosy.supply import catalogue
from argosy.supply.offers import OfferQuery, every, keep_fresh, refresh, select, within
from tests import programs

HEADER = "InstanceType,AcceleratorName,AcceleratorCount,vCPUs,MemoryGiB,Price,SpotPrice,Region\n"


@pytest.fixture
def database(tmp_path):
    store = open_store(Home(tmp_path / "home"), Settings())
    yield store.database
    store.close()


def rows(*prices: float) -> str:
    return HEADER + "".join(f"m{place},H100,1,8,64,{price},,eu-{place}\n" for place, price in enumerate(prices))


def test_a_refresh_that_fails_keeps_the_offers_and_the_others_are_read(database, tmp_path):
    good, bad = tmp_path / "good.csv", tmp_path / "bad.csv"
    settings = SupplySettings(catalogues={"good": str(good), "bad": str(bad)})
    good.write_text(rows(1, 2))
    bad.write_text(rows(3))
    assert [len(each.offers) for each in refresh(database, settings, 10.0)] == [1, 2]
    good.write_text(rows(1, 2, 3))
    bad.write_text("<html>502</html>")
    bad_one, good_one = refresh(database, settings, 20.0)
    assert (bad_one.at, bad_one.tried, len(bad_one.offers)) == (10.0, 20.0, 1)
    assert bad_one.error.startswith("the catalogue of 'bad' has no columns")
    assert (good_one.at, good_one.error, len(good_one.offers)) == (20.0, "", 3)
    bad.unlink()
    assert refresh(database, settings)[0].error == f"{bad} cannot be read: No such file or directory"
    assert len(every(database, settings)) == 4


async def test_catalogues_are_read_when_the_last_time_is_long_ago(database, tmp_path, monkeypatch):
    path, slept = tmp_path / "vms.csv", list[float]()
    settings = SupplySettings(catalogues={"cloud": str(path)}, refresh=3600)
    path.write_text(rows(1))
    real, loop = asyncio.sleep, asyncio.get_running_loop()

    async def sleep(seconds: float) -> None:
        if asyncio.get_running_loop() is not loop:  # a server of other tests, in a thread of this process
            await real(seconds)
        else:
            slept.append(seconds)
            if len(slept) % 2 == 0:
                raise asyncio.CancelledError

    monkeypatch.setattr(asyncio, "sleep", sleep)
    for ago in (7200.0, 600.0):
        refresh(database, settings, time.time() - ago)
        with pytest.raises(asyncio.CancelledError):
            await keep_fresh(database, settings)
        (found,) = stored.catalogues(database)
        assert time.time() - found.tried < 60
    assert slept == [0.0, 3600, pytest.approx(3000, abs=60), 3600]


@pytest.mark.parametrize(
    ("after", "words"),
    [((1,), "has 1 offers, and had 3: it is not believed"), ((9, 9, 9), "are 4.50 times those of before")],
)
def test_a_catalogue_that_is_another_at_once_is_not_believed(database, tmp_path, after, words):
    path = tmp_path / "vms.csv"
    settings = SupplySettings(catalogues={"cloud": str(path)})
    path.write_text(rows(1, 2, 3))
    refresh(database, settings)
    path.write_text(rows(*after))
    (found,) = refresh(database, settings)
    assert words in found.error
    assert [offer.price for offer in found.offers] == [1, 2, 3]


def test_a_catalogue_that_the_settings_no_longer_name_offers_nothing(database, tmp_path):
    (tmp_path / "vms.csv").write_text(rows(1))
    refresh(database, SupplySettings(catalogues={"cloud": str(tmp_path / "vms.csv")}))
    assert every(database, SupplySettings()) == []


@pytest.fixture
def web():
    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            body = rows(1).encode() * (1 if self.path == "/vms.csv" else 0)
            self.send_response(200 if body else 404)
            self.send_header("last-modified", "Wed, 25 Nov 2026 00:00:00 GMT")
            self.send_header("content-length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_):
            pass

    with programs.web(Handler) as url:
        yield url


def test_a_catalogue_of_the_web_is_as_old_as_its_server_says(database, web, monkeypatch):
    (found,) = refresh(database, SupplySettings(catalogues={"cloud": f"{web}/vms.csv"}), 2e9)
    assert [offer.as_of for offer in found.offers] == [1795564800.0]
    (gone,) = refresh(database, SupplySettings(catalogues={"cloud": f"{web}/gone.csv"}))
    assert "answered 404" in gone.error
    monkeypatch.setattr(catalogue, "MOST_BYTES", 10)
    (large,) = refresh(database, SupplySettings(catalogues={"cloud": f"{web}/vms.csv"}))
    assert "more than 10 bytes" in large.error


def test_a_server_that_is_not_there(database):
    (found,) = refresh(database, SupplySettings(catalogues={"cloud": "http://127.0.0.1:1/vms.csv"}))
    assert found.error.startswith("http://127.0.0.1:1/vms.csv does not answer")
    assert stored.catalogues(database)[0].offers == ()


class Seller:
    name = "live"

    def __init__(self, works):
        self.works = works

    def offers(self):
        if not self.works:
            raise Unavailable("no answer")
        return [Offer(provider="live", region="here", instance="x", price=1.0, source="live")]


def test_providers_say_live_what_they_have_and_one_that_does_not_answer_has_nothing(database):
    assert [each.source for each in every(database, SupplySettings(), [Seller(False), Seller(True)])] == ["live"]


def offer(price, region="r", **more):
    return Offer(provider="p", region=region, instance="x", price=price, **more)


def test_what_is_asked_for_cheapest_first():
    found = [
        offer(9.0, gpu="H100", count=8),
        offer(3.0, gpu="H100", count=2, market="spot"),
        offer(2.0, gpu="H100", count=1),
        offer(1.0, gpu="L4", count=4),
    ]
    assert [each.price for each in select(found, OfferQuery(gpu="h100_sxm", count=2))] == [3.0, 9.0]
    assert [each.price for each in select(found, OfferQuery(market="spot"))] == [3.0]
    assert [each.price for each in select(found, OfferQuery(most=2))] == [1.0, 2.0]
    with pytest.raises(InvalidArgument, match="'Z9' is not known: there are A2, A10"):
        select(found, OfferQuery(gpu="Z9"))
    with pytest.raises(InvalidArgument, match="count must be 1 to"):
        OfferQuery(count=0)


@pytest.mark.parametrize(
    ("region", "wanted", "lies"),
    [
        ("eu-west-1", "eu", True),
        ("europe-west4", "EU", True),
        ("FIN-02", "eu", True),
        ("FI/FIN-01", "eu", True),
        ("France, FR, EU", "eu", True),
        ("us-east-1", "eu", False),
        ("us-east-1", "us", True),
        ("US/us-midwest-1", "us", True),
        ("us-east-1", "us-east", True),
        ("us-east-1", "us-east-1", True),
        ("us-east-1", "us-west", False),
        ("australia-east-1", "us", False),
        ("ap-northeast-1", "asia", True),
        ("asia-east1", "a", True),
        ("us-east-1", "e", False),
    ],
)
def test_regions_as_providers_name_them(region, wanted, lies):
    assert within(region, wanted) == lies


@pytest.mark.parametrize(
    "catalogues", [{"cloud": "vms.csv"}, {"cloud": "http://example.org/x"}, {"cloud": "https://u:p@h/x"}, {"C!": "/x"}]
)
def test_settings_that_name_no_catalogue(catalogues):
    with pytest.raises(InvalidArgument):
        SupplySettings(catalogues=catalogues)
