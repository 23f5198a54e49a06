"""Series of the gateway that only grow, whatever the gateway forgets."""

from argosy.api.metrics.gateway import Totals, families, whole
from argosy.gateway.traffic import Bin, Traffic

KEY = ("digits", "r1")


def traffic(good: int, bad: int = 0, **more) -> Traffic:
    return Traffic(
        completed=good + bad, successes=good, errors=bad, latency=(Bin(1.0, 1.0, good), Bin(100.0, 10.0, bad)), **more
    )


def samples(totals: Totals) -> dict[tuple[str, str], float]:
    found = families(totals.all, {"r1": "digits:1"})
    return {
        (one.name, one.labels.get("code") or one.labels.get("le") or ""): one.value
        for family in found
        for one in family.samples
    }


def test_what_a_forgotten_cluster_had_counted_stays_counted():
    totals = Totals()
    for now in (traffic(10, 1), traffic(15, 2), traffic(3), traffic(5, 1)):
        totals.add({KEY: now})
    seen = samples(totals)
    assert seen["argosy_gateway_requests_total", "2xx"] == 15 + 2
    assert seen["argosy_gateway_requests_total", "5xx"] == 2 + 1
    assert seen["argosy_gateway_request_duration_seconds_count", ""] == 17 + 3
    assert seen["argosy_gateway_request_duration_seconds_bucket", "0.0025"] == 17
    assert seen["argosy_gateway_request_duration_seconds_bucket", "0.1"] == 17
    assert seen["argosy_gateway_request_duration_seconds_bucket", "+Inf"] == 20


def test_what_an_earlier_controller_counted_is_not_counted_again():
    totals = Totals()
    totals.start({KEY: traffic(100, 7, active=3)})
    assert samples(totals)["argosy_gateway_requests_total", "2xx"] == 0
    assert samples(totals)["argosy_gateway_active_requests", ""] == 3
    totals.add({KEY: traffic(101, 7)})
    assert samples(totals)["argosy_gateway_requests_total", "2xx"] == 1


def test_a_revision_that_is_gone_has_no_series():
    totals = Totals()
    totals.add({KEY: traffic(10), ("digits", "r2"): traffic(1)})
    totals.add({("digits", "r2"): traffic(2)})
    assert set(totals.all) == {("digits", "r2")}
    assert totals.came["digits", "r2"].completed == 1


def test_gauges_are_those_of_this_moment():
    totals = Totals()
    totals.add({KEY: traffic(10, active=7, hosts=2)})
    totals.add({KEY: traffic(11, active=1, hosts=3)})
    assert samples(totals)["argosy_gateway_active_requests", ""] == 1
    assert samples(totals)["argosy_gateway_hosts", ""] == 3


def test_labels_are_endpoint_revision_version_and_code_only():
    totals = Totals()
    totals.add({KEY: traffic(1), ("digits", "@waiting"): traffic(1)})
    names = {name for family in families(totals.all, {}) for one in family.samples for name in one.labels}
    assert names == {"endpoint", "revision", "version", "code", "le"}


def test_of_the_whole_gateway_only_what_there_is():
    found = {family.name for family in whole({"server.uptime": 5, "server.days_until_first_cert_expiring": 2**32 - 1})}
    assert found == {"argosy_gateway_uptime_seconds"}
    (expiry,) = whole({"server.days_until_first_cert_expiring": 2})
    assert expiry.samples[0].value == 2 * 86400
