"""Which regions may answer for an endpoint, and which peers are refused."""

import pytest

from argosy.spec.errors import InvalidArgument
from argosy.spec.region import Peer, within

TOKEN = "t" * 32


def peer(region, **fields):
    """A peer that serves 'digits'."""
    return Peer(
        **{"region": region, "host": "10.0.0.1", "port": 8080, "endpoints": ("digits",), "token": TOKEN} | fields
    )


def test_the_cheapest_region_that_may_and_is_near_enough_comes_first():
    peers = [
        peer("dear", rank=2.0, rtt=0.01),
        peer("far", rank=0.1, rtt=0.3),
        peer("cheap", rank=1.0, rtt=0.09),
        peer("near", rank=1.0, rtt=0.02),
        peer("other", endpoints=("letters",)),
        peer("silent", token=""),
    ]
    found = within(peers, "digits", (), 0.1)
    assert [each.region for each in found] == ["near", "cheap", "dear"]
    assert [each.region for each in within(peers, "digits", ("far", "dear"), None)] == ["far", "dear"]


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"region": "EU west"}, "region 'EU west'"),
        ({"host": "eu.example"}, "IP address"),
        ({"port": 0}, "port must be"),
        ({"rtt": float("nan")}, "rtt must be"),
        ({"rank": float("inf")}, "rank a number"),
        ({"token": "short"}, "32 to 128"),
        ({"tls": True}, "authority"),
    ],
    ids=lambda each: str(each)[:20],
)
def test_a_peer_that_makes_no_sense_is_refused(fields, said):
    with pytest.raises(InvalidArgument, match=said):
        peer(**{"region": "eu"} | fields)
