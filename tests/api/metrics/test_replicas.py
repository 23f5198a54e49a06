"""What replicas say is taken with care: known families, well-formed samples, and not more than so many."""

import asyncio
from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families as parsed

from argosy.api.metrics import replicas
from argosy.api.metrics.replicas import MOST_LINES, labels, merged, read, samples
from argosy.gateway.admin import Admin
from argosy.spec.address import Address
from argosy.spec.status import ReplicaStatus


def replica(id: str, http: str = "/none") -> ReplicaStatus:
    return ReplicaStatus(
        id=id,
        endpoint="digits",
        revision="r1",
        phase="ready",
        http=Address(path=http),
        started=0.0,
        version="digits:1",
    )


GOOD = """# HELP argosy_rows_total Rows
# TYPE argosy_rows_total counter
argosy_rows_total{model="digits",version="1"} 7.0
argosy_batch_rows_bucket{le="1",model="digits",version="1"} 7.0
argosy_batch_rows_count{model="digits",version="1"} 7.0
nv_inference_count_total{model="digits",version="1"} 7.0
argosy_ready 1.0
"""


def test_every_family_stands_once_with_the_labels_of_whose_it_is():
    text = merged([(replica("a"), GOOD), (replica("b"), GOOD), (replica("c"), None)])
    found = {family.name: family for family in parsed(text)}
    assert set(found) == {"argosy_replica_up", "argosy_rows", "argosy_batch_rows", "argosy_ready"}
    assert text.count("# TYPE argosy_rows_total counter") == 1
    ours = {"endpoint": "digits", "revision": "r1", "version": "digits:1"}
    assert [one.labels for one in found["argosy_rows"].samples] == [{**ours, "replica": each} for each in ("a", "b")]
    assert [one.value for one in found["argosy_replica_up"].samples] == [1, 1, 0]


def test_what_a_model_made_up_is_left_out():
    bad = (
        'argosy_endpoint_state{endpoint="other"} 1',
        'argosy_rows_total{model="a" 1',
        'argosy_rows_total{user="x",} ,} 1',
        "argosy_rows_total one",
        "argosy_rows_total 1 1700000000000",
        f'argosy_rows_total{{user="{"x" * 300}"}} 1',
        f"argosy_rows_total {'1' * 100}",
        "argosy_rows_total_count 1",
    )
    assert list(samples("\n".join(bad), labels(replica("a")))) == []


def test_there_is_a_bound_on_what_one_may_say():
    many = "\n".join(f'argosy_requests_total{{code="c{number}"}} 1' for number in range(10 * MOST_LINES))
    assert len(list(samples(many, ""))) == MOST_LINES


async def test_one_that_does_not_answer_is_down(tmp_path: Path):
    assert await read([replica("a", str(tmp_path / "none"))]) == [(replica("a", str(tmp_path / "none")), None)]


async def test_who_scrapes_does_not_wait_for_thousands_that_say_nothing(monkeypatch: pytest.MonkeyPatch):
    async def silent(_: Admin, path: str) -> bytes:
        return await asyncio.Event().wait() and b""

    monkeypatch.setattr(Admin, "get", silent)
    monkeypatch.setattr(replicas, "ALL", 0.05)
    assert await read([replica(str(n)) for n in range(1000)]) == []
