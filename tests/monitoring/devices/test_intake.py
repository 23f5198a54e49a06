"""What devices report joins the profiles and the log of their fleet, and what is no good is dropped."""

import copy
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import msgspec
import pyarrow.parquet
import pytest

from argosy.control.state import State
from argosy.monitoring.devices import intake
from argosy.monitoring.drift.monitor import LATE, DriftMonitor
from argosy.monitoring.performance.monitor import PerformanceMonitor
from argosy.profiles import files
from argosy.profiles.profile import merge, minute
from argosy.profiles.recorder import Recorder
from argosy.spec import strict
from argosy.spec.errors import InvalidArgument
from argosy.spec.fleet import Deployment
from argosy.spec.monitor import Monitor
from argosy.store import findings
from argosy.store.payloads import layout as places
from argosy.store.streams import served, streams
from tests.monitoring.devices.fleet import START, World
from tests.monitoring.recorder import shop

NAME = "fleet.tills"


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    made = World(tmp_path)
    yield made
    made.store.close()


def written(world: World) -> list[Any]:
    world.intake.flush()
    return files.read(world.home.profiles, NAME, "shop:1")


def test_devices_merge_into_what_one_replica_would_have_counted(world: World):
    recorder = Recorder(world.layout, "shop:1")
    for number in range(100):
        rows = shop.rows(5, seed=number)
        world.report(world.device(f"till-{number}"), world.counted(rows))
        recorder.add(world.now, rows, shop.answers(rows))
    found = written(world)
    assert [(one.version, one.start, one.rows) for one in found] == [("shop:1", minute(START), 500)]
    (theirs,) = recorder.take(world.now + 60)
    ours = merge(world.layout, found)
    assert ours.counts == theirs.counts
    assert [one.mean for one in ours.moments] == pytest.approx([one.mean for one in theirs.moments])
    assert not world.intake.dropped


def test_rows_go_to_the_minutes_that_devices_say_unless_that_cannot_be(world: World):
    one = world.device()
    for at in (START - 86400 * 3, START + 86400 * 365, 5.0):
        world.report(one, world.counted(shop.rows(3), at))
    assert [(each.start, each.rows) for each in written(world)] == [(minute(START - 86400 * 3), 3), (minute(START), 6)]


def changed(said: dict[str, Any], **fields: Any) -> dict[str, Any]:
    return copy.deepcopy(said) | fields


def first(values: list[Any], value: Any) -> list[Any]:
    return [value, *values[1:]]


WRONG = {
    "another version": lambda one: changed(one, version="sha256:" + "0" * 64),
    "no version": lambda one: changed(one, version={"a": 1}),
    "another layout": lambda one: changed(one, layout="0" * 32),
    "a missing field": lambda one: {key: value for key, value in one.items() if key != "rows"},
    "a field too many": lambda one: changed(one, extra=1),
    "too few counts": lambda one: changed(one, counts=one["counts"][:-1]),
    "negative counts": lambda one: changed(one, counts=first(one["counts"], -5)),
    "more counts than rows": lambda one: changed(one, counts=first(one["counts"], 2**62)),
    "counts beyond integers": lambda one: changed(one, counts=first(one["counts"], 2**70)),
    "more rows than counts": lambda one: changed(one, rows=one["rows"] + 1),
    "too many rows": lambda one: changed(one, rows=10**9, counts=[10**9] * len(one["counts"])),
    "infinite moments": lambda one: changed(one, moments=first(one["moments"], [3, float("inf"), 0.0, 0.0, 1.0])),
    "negative squares": lambda one: changed(one, moments=first(one["moments"], [3, 0.0, -1.0, 0.0, 1.0])),
    "a segment": lambda one: changed(one, segment="label=1"),
    "sketches": lambda one: changed(one, sketches=["AAAA"] * len(one["moments"])),
    "years in one profile": lambda one: changed(one, end=one["start"] + 10**6),
    "no time at all": lambda one: changed(one, end=one["start"]),
    "values beyond the rows": lambda one: changed(one, values=[[{"1": 10**6}, 0, ""]] * len(one["values"])),
    "a text too long": lambda one: changed(one, values=[[{"x" * 500: 1}, 0, ""]] * len(one["values"])),
}


def test_what_cannot_have_been_counted_is_dropped_and_counted(world: World):
    good, device = world.counted(shop.rows(3)), world.device()
    for number, (wrong, made) in enumerate(WRONG.items(), 1):
        world.report(device, made(good))
        assert world.intake.dropped == {"tills": number}, wrong
    world.report(device, good)
    assert [one.rows for one in written(world)] == [3]


def test_no_more_wait_than_can_be_written(world: World, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(intake, "MOST_PARTS", 3)
    one = world.device()
    for number in range(5):
        world.report(one, world.counted(shop.rows(1), START - 60.0 * number))
    assert sum(each.rows for each in written(world)) == 3
    assert world.intake.dropped == {"tills": 2}


def test_drift_on_devices_is_found_by_the_monitor_of_endpoints(world: World):
    monitor = DriftMonitor(world.store, State(world.store.database), world.incidents.report, 3600, lambda: world.now)
    for hour in range(12):
        for number in range(3):
            rows = shop.rows(100, seed=10 * hour + number)
            rows["x"][:, 0] += 25 if hour >= 4 else 0
            world.report(_device(world, f"till-{number}", hour), world.counted(rows, START + hour * 3600 + 60))
        world.now = START + (hour + 1) * 3600 + LATE + 1
        world.intake.flush()
        monitor.turn()
    found = findings.read(world.store.database, NAME, ["drift"], 0)
    assert {one.version for one in found} == {"shop:1"}
    assert {one.subject for one in found if one.verdict == "drift"} == {"age"}
    assert {one.endpoint for one in world.alerts()} == {NAME}


def _device(world: World, name: str, hour: int) -> Any:
    return world.device(name) if not hour else world.store.fleets.devices.get(name)


def tensor(datatype: str, array: Any) -> dict[str, Any]:
    return {"datatype": datatype, "shape": list(array.shape), "data": array.reshape(-1).tolist()}


def payload(world: World, **fields: Any) -> dict[str, Any]:
    rows = shop.rows(2)
    answers = shop.answers(rows)
    specs = {spec.name: spec.datatype for spec in (*shop.SIGNATURE.inputs, *shop.SIGNATURE.outputs)}

    def side(arrays: Any) -> dict[str, Any]:
        texts = {name: array.astype(str) if array.dtype == object else array for name, array in arrays.items()}
        return {name: tensor(specs[name], array) for name, array in texts.items()}

    said = {"version": world.digest, "at": world.now, "id": "a1", "milliseconds": 2.5}
    return said | {"inputs": side(rows), "outputs": side(answers)} | fields


def logged(world: World) -> list[dict[str, Any]]:
    world.intake.flush()
    root = world.home.payloads
    return [
        row
        for one in places.segments(root, NAME)
        for row in pyarrow.parquet.ParquetFile(root / one.key).read().to_pylist()
    ]


def test_payloads_where_they_are_declared_are_in_the_log_of_the_fleet(tmp_path: Path):
    world = World(tmp_path, payloads=0.5)
    world.report(world.device(), payloads=[payload(world), payload(world, at=1.0, id="b2")])
    rows = logged(world)
    assert {row["request_id"] for row in rows} == {"till-1/a1", "till-1/b2"}
    assert {(row["replica"], row["rows"], row["weight"], row["latency"]) for row in rows} == {
        ("till-1", 2, 2.0, 0.0025)
    }
    assert {row["time"] for row in rows} == {datetime.fromtimestamp(START, UTC)}
    assert [each.endpoint.name for each in world.intake.logged] == [NAME]
    world.store.close()


def x(*shape: int, data: Any) -> dict[str, Any]:
    return {"x": {"datatype": "FP32", "shape": shape, "data": data}}


BAD = {
    "another shape": lambda said: changed(said, inputs=x(1, 99, data=[0.0] * 99)),
    "fewer values than its shape": lambda said: changed(said, inputs=x(2, 3, data=[1.0])),
    "a tensor that is none": lambda said: changed(said, inputs={"none": x(2, data=[1.0, 1.0])["x"]}),
    "texts for numbers": lambda said: changed(said, inputs=x(2, 3, data=["a"] * 6)),
    "no latency": lambda said: changed(said, milliseconds=float("nan")),
    "no shape": lambda said: changed(said, outputs={"label": {}}),
    "a list": lambda said: changed(said, inputs=[1]),
}


def test_a_payload_that_does_not_fit_is_dropped(tmp_path: Path):
    world = World(tmp_path, payloads=1.0)
    device = world.device()
    for number, (wrong, made) in enumerate(BAD.items(), 1):
        world.report(device, payloads=[made(payload(world))])
        assert world.intake.dropped == {"tills": number}, wrong
    world.report(device, payloads=[payload(world)])
    assert len(logged(world)) == 2
    world.store.close()


def test_payloads_that_nobody_declared_are_dropped(world: World):
    world.report(world.device(), payloads=[payload(world)])
    assert logged(world) == []
    assert world.intake.dropped == {"tills": 1}


def test_performance_is_evaluated_where_payloads_and_a_monitor_are_declared(tmp_path: Path):
    declared = Deployment(fleet="tills", model="shop:1", payloads=1.0, monitor=Monitor(decision="output.label"))
    world = World(tmp_path, **msgspec.to_builtins(declared))
    world.report(world.device(), payloads=[payload(world)])
    world.intake.flush()
    monitor = PerformanceMonitor(world.store, State(world.store.database), world.incidents.report, lambda: world.now)
    (found,), revisions = streams(world.store)
    assert monitor.window(found) is not None
    job = monitor.job(found, revisions, world.now, world.now)
    assert [(each.number, each.digest) for each in job.versions] == [("shop:1", world.digest)]
    assert job.endpoint == NAME
    world.store.close()


@pytest.mark.parametrize(
    ("said", "why"),
    [({}, "payloads"), ({"payloads": 1.0, "monitor": {"reference": "x.csv"}}, "reference")],
    ids=["none", "a file"],
)
def test_a_monitor_without_payloads_or_of_a_file_here_is_refused(said: dict[str, Any], why: str):
    with pytest.raises(InvalidArgument, match=why):
        strict.convert({"fleet": "tills", "model": "shop:1", "monitor": {}} | said, Deployment, "it")


def test_a_fleet_is_an_endpoint_to_reports(world: World):
    world.device()
    declared, revision = served(world.store, NAME)
    assert (declared.endpoint.name, revision.version, revision.digest) == (NAME, "shop:1", world.digest)
    assert declared.endpoint.payload is None
