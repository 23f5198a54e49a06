"""What is counted by endpoint and revision."""

import asyncio
import random
import time

import grpc
import pytest

from argosy.gateway.traffic import Bin, Traffic, tally
from tests.gateway.grpc_kit import infer, served, status, with_client
from tests.gateway.kit import http, one, revision, shared

INFER = "/v2/models/digits/infer"


async def latency(gateway, key, count):
    """The bins once all of these answers are in them."""
    async with asyncio.timeout(60):
        while True:
            found = (await gateway.stats())[key].latency
            if sum(each.count for each in found) >= count:
                return found
            await asyncio.sleep(0.05)


async def test_answers_are_counted_by_class_and_attempts_apart(gateway, replica):
    a, b = await replica("a"), await replica("b")
    script: list[int] = []

    async def scripted(request):
        return script.pop(0), {}, b""

    a.handler = scripted
    await gateway.start([shared(revision("r1", "1", a, weight=1), revision("r2", "2", b))])
    async with await http(gateway) as client:
        for status_, attempts in ((200, [200]), (404, [404]), (500, [500]), (503, [503, 503]), (200, [503, 200])):
            script[:] = attempts
            assert (await client.post(INFER, content=b"x")).status_code == status_
        a.handler = resetting
        assert (await client.post(INFER, content=b"x")).status_code == 503
        await a.stop()
        assert (await client.post(INFER, content=b"x")).status_code == 503
    found = await gateway.stats()
    assert found["digits", "r2"] == Traffic(hosts=1, healthy_hosts=1)
    one_ = found["digits", "r1"]
    answers = (one_.completed, one_.successes, one_.client_errors, one_.errors)
    assert answers == (7, 2, 1, 4)
    assert one_.resets == 2
    assert one_.retries == 4
    assert one_.connect_failures == 2
    assert one_.requests >= 9


async def resetting(_):
    return 0, {}, b""


async def test_latencies_are_whole_and_fine_enough(gateway, replica):
    a = await replica("a")
    waits = [random.Random(3).uniform(0.001, 0.3) for _ in range(20)]
    left = list(waits)
    took: list[float] = []

    async def slow(_):
        await asyncio.sleep(left.pop())
        return 200, {}, b""

    a.handler = slow
    await gateway.start([one(a, auth=False)])
    async with await http(gateway) as client:
        for _ in waits:
            start = time.perf_counter()
            await client.post(INFER, content=b"x")
            took.append((time.perf_counter() - start) * 1000)
    found = await latency(gateway, ("digits", "r1"), len(waits))
    lows = sorted(low for each in found for low in [each.lower] * each.count)
    highs = sorted(high for each in found for high in [each.lower + max(each.width, 1)] * each.count)
    assert len(lows) == len(waits)
    assert all(low <= outside for low, outside in zip(lows, sorted(took), strict=True))
    assert all(high + 1 >= wait * 1000 for high, wait in zip(highs, sorted(waits), strict=True))
    assert all(each.width <= each.lower / 10 for each in found)


async def test_time_spent_on_earlier_attempts_counts(gateway, replica):
    a = await replica("a")
    answers = [503, 200]

    async def slow_to_refuse(_):
        if len(answers) == 2:
            await asyncio.sleep(0.1)
        return answers.pop(0), {}, b""

    a.handler = slow_to_refuse
    await gateway.start([one(a, auth=False)])
    async with await http(gateway) as client:
        assert (await client.post(INFER, content=b"x")).status_code == 200
    (only,) = await latency(gateway, ("digits", "r1"), 1)
    assert only.lower >= 90


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
async def test_failed_grpc_calls_are_counted(gateway, grpc_replica):
    a, b = grpc_replica("a"), grpc_replica("b")
    await gateway.start([served("digits", a, b, auth=False, retries=0)])

    def use(client):
        for _ in range(3):
            infer(client, "digits")
        a.fail = grpc.StatusCode.INTERNAL
        for named in ({}, {"argosy-endpoint": "digits"}):
            assert status(infer, client, "digits", headers=named)[0] == "StatusCode.INTERNAL"
        a.fail = grpc.StatusCode.INVALID_ARGUMENT
        assert status(infer, client, "digits")[0] == "StatusCode.INVALID_ARGUMENT"
        a.fail = None
        infer(client, "digits", "2")

    await with_client(gateway, use)
    found = await gateway.stats()
    first, second = found["digits", "r1"], found["digits", "r2"]
    assert (first.completed, first.successes, first.grpc_failures, first.errors) == (6, 6, 2, 0)
    assert (second.completed, second.grpc_failures) == (1, 0)
    assert sum(each.count for each in await latency(gateway, ("digits", "r1"), 6)) == 6


async def test_a_call_that_the_gateway_failed_itself_is_one_error(gateway, grpc_replica):
    a = grpc_replica("a")
    await gateway.start([served("digits", a, auth=False, retries=0)])
    a.server.stop(None).wait()
    await with_client(gateway, lambda client: status(infer, client, "digits"))
    found = (await gateway.stats())["digits", "r1"]
    assert (found.completed, found.errors, found.grpc_failures) == (1, 1, 0)


def test_failures_of_a_cluster_that_is_gone_are_gone():
    stats = [
        {"name": "cluster.di.gits/r1/grpc/abc.upstream_rq_completed", "value": 3},
        {"name": "argosy.grpc_failures.cluster.di.gits/r1/grpc/abc", "value": 2},
        {"name": "argosy.grpc_failures.cluster.di.gits/r1/grpc/def", "value": 7},
    ]
    assert tally(stats) == {("di.gits", "r1"): Traffic(completed=3, grpc_failures=2)}


async def test_traffic_is_counted_per_revision_whatever_the_names(gateway, replica):
    a, b = await replica("a"), await replica("b")
    revisions = (revision("r.1", "1", a, weight=1), revision("r.1.x", "2", b))
    await gateway.start([shared(*revisions, endpoint="di.gits")])
    async with await http(gateway) as client:
        for _ in range(5):
            await client.post("/v2/models/di.gits/infer", content=b"x")
    found = await gateway.stats()
    assert found.keys() == {("di.gits", "r.1"), ("di.gits", "r.1.x")}
    assert found["di.gits", "r.1"].requests == 5
    assert (found["di.gits", "r.1"].hosts, found["di.gits", "r.1"].healthy_hosts) == (1, 1)


def test_clusters_of_one_revision_are_added():
    def named(cluster, value):
        return {"name": f"cluster.{cluster}.upstream_rq_total", "value": value}

    def timed(cluster, *bins):
        totals = [{"lower_bound": low, "width": width, "count": count} for low, width, count in bins]
        return {"name": f"cluster.{cluster}.upstream_rq_time", "totals": totals}

    hosts = [{"name": f"cluster.e/r/{kind}/ab.membership_total", "value": 3} for kind in ("http", "grpc")]
    details = [timed("e/r/http/ab", (1, 0.1, 2), (0, 0, 1)), timed("e/r/grpc/cd", (1, 0.1, 5)), timed("e/s/http/ef")]
    stats = [named("e/r/http/ab", 2), named("e/r/http/cd", 3), named("e/r/grpc/ee", 4), named("e/s/http/ef", 0), *hosts]
    found = tally([*stats, {"histograms": {"details": details}}])
    assert found["e", "r"] == Traffic(requests=9, hosts=3, latency=(Bin(0, 0, 1), Bin(1, 0.1, 7)))
    assert found["e", "s"] == Traffic()
