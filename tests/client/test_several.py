"""A client of several servers: the next one answers for one that is gone, until it is back."""

import asyncio
import socket
from contextlib import contextmanager
from types import SimpleNamespace

import numpy as np
import pytest

from argosy.client import AsyncClient, Client
from argosy.client.address import AWAY_SECONDS, Turns
from argosy.spec import errors
from tests.client.test_client import model

X = np.array([[1, 2]], dtype="float32")


@pytest.fixture
def clock(monkeypatch):
    """The clock of turns, which the test moves."""
    now = SimpleNamespace(seconds=1000.0)
    monkeypatch.setattr(Turns.__init__, "__defaults__", (lambda: now.seconds,))
    return now


@pytest.fixture
def gone():
    """The URL of a server that refuses connections."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        yield f"http://127.0.0.1:{taken.getsockname()[1]}"


@contextmanager
def silent():
    """The URL of a server that takes requests and answers none."""
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        one.listen(8)
        yield f"http://127.0.0.1:{one.getsockname()[1]}"


def test_the_next_one_answers_for_one_that_refuses(server, gone):
    there = server(model())
    with Client([gone, there.url]) as client:
        assert client.predict("digits", X)["sum"].tolist() == [3]
        assert client.live()


async def test_so_it_does_for_an_asynchronous_client(server, gone):
    there = server(model())
    async with AsyncClient([gone, there.url]) as client:
        found = await asyncio.gather(*(client.predict("digits", X) for _ in range(4)))
    assert [each["sum"].tolist() for each in found] == [[3]] * 4


def test_what_is_broken_off_is_asked_of_the_next(server):
    def breaks(request):
        raise ConnectionAbortedError

    first, then = server(breaks), server(model())
    with Client([first.url, then.url]) as client:
        assert client.predict("digits", X)["sum"].tolist() == [3]
    assert len(first.requests) == 1


@pytest.mark.slow
def test_so_is_what_nobody_answers(server):
    there = server(model())
    with silent() as url, Client([url, there.url], timeout=5) as client:
        assert client.predict("digits", X)["sum"].tolist() == [3]


def test_it_stays_and_comes_back(server, clock):
    up = False

    def first(request):
        if not up:
            raise ConnectionAbortedError
        return model()(request)

    east, west = server(first), server(model())
    with Client([east.url, west.url]) as client:
        for _ in range(3):
            client.predict("digits", X)
        assert len(east.requests) == 1
        up = True
        clock.seconds += AWAY_SECONDS
        before = len(west.requests)
        client.predict("digits", X)
        client.predict("digits", X)
        assert (len(east.requests), len(west.requests)) == (3, before)


def test_one_request_tries_and_the_others_wait_for_what_becomes_of_it():
    now = 10.0
    turns = Turns(3, lambda: now)
    turns.gone(0)
    assert turns.order() == [1, 2, 0]
    now += AWAY_SECONDS
    assert [turns.order(), turns.order()] == [[0, 1, 2], [1, 2, 0]]
    turns.well(0)
    assert turns.order() == [0, 1, 2]


def test_where_all_are_gone_the_last_one_says_so(gone):
    said = f"nothing answers at {gone} or {gone}: "
    with Client([gone, gone], timeout=0.3) as client, pytest.raises(errors.Unavailable, match=said):
        client.predict("digits", X)


@pytest.mark.parametrize(
    ("urls", "message"),
    [([], "at least one URL"), (["http://a/v2/models/x", "http://b/v2/models/y"], "name the same model, or none")],
    ids=["none", "two models"],
)
def test_urls_that_cannot_be_one_client_are_refused(urls, message):
    with pytest.raises(errors.InvalidArgument, match=message):
        Client(urls)
