"""What launches told is counted once, by the hour; catalogues are replaced as a whole."""

import msgspec
import pytest

from argosy.spec.offer import Launch, Offer
from argosy.store import offers
from argosy.store.launches import Launches
from argosy.store.offers import DAYS, HOUR, Catalogue

OFFER = Offer(provider="cloud", region="r", zone="z", instance="x", market="spot", price=2.0)
ASKED = Launch(id="1", offer=OFFER, asked=7200.0, state="starting")
READY = msgspec.structs.replace(ASKED, state="ready", started=7210.0, ready=7260.0, price=2.5)
ENDED = msgspec.structs.replace(READY, state="ended", ended=7260.0 + 2.5 * HOUR)


def note(store, before, after):
    with store.database.begin() as connection:
        offers.learn(connection, before, after)


def test_a_launch_that_serves_tells_how_long_it_took_and_what_it_costs(store):
    note(store, None, ASKED)
    assert offers.learned(store.database, 0.0) == []
    note(store, ASKED, READY)
    note(store, READY, READY)
    note(store, ASKED, msgspec.structs.replace(ASKED, state="failed"))
    (row,) = offers.learned(store.database, 0.0)
    assert (row.provider, row.zone, row.market, row.hour) == ("cloud", "z", "spot", 7200)
    assert (row.tried, row.started, row.lost, row.ready, row.listed, row.paid) == (2, 1, 0, 60.0, 2.0, 2.5)


@pytest.mark.parametrize("lost", [False, True])
def test_a_machine_that_ended_tells_for_how_long_each_hour_had_it(store, lost):
    note(store, READY if lost else msgspec.structs.replace(READY, state="ending"), ENDED)
    rows = offers.learned(store.database, 0.0)
    assert [(row.hour, row.held) for row in rows] == [(7200, 3540.0), (10800, 3600.0), (14400, 1860.0)]
    assert [row.lost for row in rows] == [0, 0, int(lost)]


def test_one_that_never_served_was_never_held(store):
    note(store, ASKED, msgspec.structs.replace(ASKED, state="ended", ended=9000.0))
    assert offers.learned(store.database, 0.0) == []


def test_times_of_a_provider_whose_clock_goes_back_tell_nothing(store):
    note(store, READY, msgspec.structs.replace(READY, state="ended", ended=1.0))
    (row,) = offers.learned(store.database, 0.0)
    assert (row.held, row.lost) == (0.0, 1)


def test_launches_teach_as_they_are_written_down(store):
    launches = Launches(store.database)
    launches.intend(ASKED)
    launches.move("1", ("starting",), state="ready", ready=7260.0, price=2.5)
    launches.move("1", ("starting",), state="ready", ready=9999.0)
    launches.move("1", ("ready",), state="ended", ended=7270.0)
    (row,) = offers.learned(store.database, 0.0)
    assert (row.tried, row.started, row.held, row.lost) == (1, 1, 10.0, 1)


def test_what_is_old_is_forgotten(store):
    note(store, ASKED, READY)
    offers.forget(store.database, 7200.0 + DAYS * 86400)
    assert len(offers.learned(store.database, 0.0)) == 1
    offers.forget(store.database, 7201.0 + DAYS * 86400)
    assert offers.learned(store.database, 0.0) == []


def test_a_catalogue_replaces_the_one_before(store):
    for price in (1.0, 2.0):
        changed = msgspec.structs.replace(OFFER, price=price)
        offers.keep(store.database, Catalogue(provider="cloud", source="/x", offers=(changed,)))
    assert [each.offers[0].price for each in offers.catalogues(store.database)] == [2.0]
