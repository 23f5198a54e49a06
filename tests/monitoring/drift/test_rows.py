"""Looks at whole rows: a process of its own, a real log, a fake clock."""

import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from argosy.monitoring.drift import sample
from argosy.monitoring.drift.monitor import STATES
from argosy.monitoring.drift.rows import COMPUTE
from argosy.monitoring.drift.sample import Answer, SampleJob, compute
from argosy.process.child import Child
from argosy.spec.errors import ArgosyError, Unavailable
from argosy.spec.payload import PayloadLog
from argosy.store import findings
from argosy.store.findings import Finding
from argosy.store.payloads.encode import parquet
from tests.monitoring.drift.world import EVERY, START, World
from tests.monitoring.recorder import shop


@pytest.fixture
def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[World]:
    """Where rows are compared in this process, which has loaded already what that needs."""
    monkeypatch.setattr(Child, "run", lambda _, function, job, answer: compute(job))
    one = World(tmp_path)
    one.declare(PayloadLog())
    yield one
    one.store.close()


def last(world: World) -> dict[str, Finding]:
    """Of the last window, by subject."""
    found = findings.read(world.store.database, "shop", ["multivariate"], 0)
    return {one.subject: one for one in found if one.window_end == START + world.hour * EVERY}


def kept(world: World) -> Any:
    return parquet().read_table(world.home.root / "drift/shop.rows")


@pytest.mark.slow
def test_columns_that_change_their_relation_alone_are_found(world: World):
    world.pass_hour()
    assert last(world) == {}
    assert kept(world).num_rows == 300
    world.pass_hour()
    assert {one.verdict for one in last(world).values()} == {"no drift"}
    assert set(last(world)) == {"domain classifier", "principal components"}
    for _ in range(3):
        world.pass_hour(mixed=True)
    assert {each.subject for each in world.alerts() if each.kind == "multivariate"} >= {"domain classifier"}
    found = last(world)["domain classifier"]
    assert found.effect is not None
    assert found.low is not None
    assert found.low > 0.55
    assert {cause["name"] for cause in found.detail["causes"][:2]} == {"input.age", "input.income"}
    assert "most by 'input." in found.detail["text"]
    assert "drift" not in {verdict for name, verdict in world.verdicts().items() if name in shop.COLUMNS}


def test_what_has_drifted_is_no_part_of_what_is_compared_with(world: World):
    for _ in range(2):
        world.pass_hour()
    while not any(one.verdict == "drift" for one in last(world).values()):
        world.pass_hour(mixed=True)
        assert world.hour < 8
    before = kept(world).num_rows
    world.pass_hour(mixed=True)
    assert kept(world).num_rows == before


def test_a_look_that_is_done_again_finds_the_same(world: World):
    world.pass_hour()
    world.pass_hour()
    before, rows = last(world), kept(world)
    earlier = STATES.get(world.store.database, "shop")
    assert earlier is not None
    world.pass_hour(mixed=True)
    found = last(world)
    with world.store.database.begin() as connection:
        STATES.put(connection, "shop", earlier)
    assert kept(world).num_rows > rows.num_rows
    world.fresh().turn()
    assert last(world) == found
    assert before != found


def test_rows_are_kept_no_longer_than_the_log_keeps_them(world: World):
    world.declare(PayloadLog(keep_days=2.5 / 24))
    for _ in range(4):
        world.pass_hour(n=100)
    assert kept(world).num_rows <= 300
    assert kept(world).column("time").to_pylist()[0].timestamp() >= START


def test_columns_that_are_hidden_later_are_no_longer_kept(world: World):
    world.pass_hour(n=100)
    assert "input.income" in kept(world).column_names
    world.declare(PayloadLog(redact=("income",), hash=("age",)))
    world.pass_hour(n=100)
    assert not {"input.income", "input.age"} & set(kept(world).column_names)
    world.declare(None)
    world.pass_hour(n=100)
    assert not (world.home.root / "drift/shop.rows").exists()


def test_rows_go_with_their_endpoint(world: World):
    world.pass_hour(n=100)
    world.state.delete("shop")
    world.now += EVERY
    world.monitor.turn()
    assert list((world.home.root / "drift").iterdir()) == []


def test_a_season_compares_with_the_same_hours(world: World):
    world.declare(PayloadLog(), season="week")
    for week in range(3):
        world.hour = week * 168
        world.pass_hour(n=200, mixed=True, look=week == 2)
    assert {one.verdict for one in last(world).values()} == {"no drift"}
    assert {one.detail["before"] for one in last(world).values()} == {400}


def test_a_sample_is_bounded_and_every_row_may_be_in_it(world: World):
    world.log = PayloadLog()
    for part in range(5):
        world.record(shop.rows(1000, seed=part), START + part * 1000)
    one = msgspec.structs.replace(job(world), salt="a")
    drawn = sample.drawn(one, ["input.age"], START, START + 6000, most=500)
    assert drawn.num_rows == 500
    hours = [int((each.timestamp() - START) // 1000) for each in drawn.column("time").to_pylist()]
    assert min(hours.count(part) for part in range(5)) > 60
    other = sample.drawn(msgspec.structs.replace(one, salt="b"), ["input.age"], START, START + 6000, most=500)
    assert other.column("draw").to_pylist() != drawn.column("draw").to_pylist()
    assert sample.drawn(msgspec.structs.replace(one, version="2"), ["input.age"], START, START + 6000).num_rows == 0


def test_broken_rows_begin_anew(world: World):
    world.pass_hour(n=100)
    (world.home.root / "drift/shop.rows").write_bytes(b"PAR1 broken")
    world.pass_hour(n=100)
    assert kept(world).num_rows == 100


def job(world: World) -> SampleJob:
    return SampleJob(
        payloads=str(world.home.payloads),
        endpoint="shop",
        version="1",
        package=str(world.store.unpacked(world.version.digest)),
        log=PayloadLog(),
        since=START,
        until=START + EVERY,
        salt="",
        stored=str(world.home.root / "rows"),
        fresh=str(world.home.root / "rows.fresh"),
    )


def test_a_process_of_its_own_answers_the_same(world: World, monkeypatch: pytest.MonkeyPatch):
    world.pass_hour()
    world.pass_hour()
    rows = str(world.home.root / "drift/shop.rows")
    asked = msgspec.structs.replace(job(world), stored=rows, since=START + EVERY, until=START + 2 * EVERY)
    expected = compute(asked)
    monkeypatch.undo()
    child = world.monitor.child
    with child:
        found = child.run(COMPUTE, asked, Answer)
    assert (found.rows, found.before) == (300, 300)
    assert len(found.shifts) == 2
    for one, other in zip(found.shifts, expected.shifts, strict=True):
        assert (one.method, one.effect) == (other.method, pytest.approx(other.effect))
    with child, pytest.raises(ArgosyError, match="/nowhere"):
        child.run(COMPUTE, msgspec.structs.replace(asked, package="/nowhere"), Answer)


def test_a_comparison_that_takes_too_long_or_is_ended_is_over(world: World, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.undo()
    child = world.monitor.child
    child.timeout = 0.01
    with pytest.raises(Unavailable, match=r"within 0\.01 s"):
        child.run(COMPUTE, job(world), Answer)
    child.timeout = 60.0
    asked = job(world)

    def cancel() -> None:
        while child._process is None:
            time.sleep(0.001)
        child.cancel()

    threading.Thread(target=cancel).start()
    with pytest.raises(Unavailable, match="SIGKILL"):
        child.run(COMPUTE, asked, Answer)
    with pytest.raises(Unavailable, match="the platform ends"):
        child.run(COMPUTE, job(world), Answer)


def test_what_goes_wrong_with_rows_costs_no_other_look(world: World, caplog: pytest.LogCaptureFixture):
    world.pass_hour()
    for path in world.home.payloads.rglob("*.parquet"):
        path.write_bytes(b"broken")
    world.pass_hour(older=40)
    assert world.verdicts()["age"] == "drift"
