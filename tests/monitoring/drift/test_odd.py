"""Odd data through a whole look: each costs what it must, and is told as what it is."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest

from argosy.monitoring.drift.monitor import LATE, STATES
from argosy.profiles import files
from argosy.profiles.layout import layout
from argosy.profiles.profile import Profile
from argosy.profiles.recorder import Recorder
from argosy.store import findings
from argosy.store.findings import Finding
from tests.monitoring.drift.world import EVERY, START, World
from tests.monitoring.recorder import shop


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    one = World(tmp_path)
    yield one
    one.store.close()


def profiles(rows: dict[str, Any], answers: dict[str, Any], at: float, world: World) -> list[Profile]:
    recorder = Recorder(world.layout, "1")
    recorder.add(at, rows, answers)
    return recorder.take(at + 10**6)


def looked(world: World, parts: list[Profile]) -> dict[str, Finding]:
    """One more hour, of these profiles alone: what was found, by subject."""
    files.write(world.home.profiles, "shop", parts)
    world.hour += 1
    world.now = START + world.hour * EVERY + LATE + 1
    world.monitor.turn()
    found = findings.read(world.store.database, "shop", ["drift", "prediction"], 0)
    return {one.subject: one for one in found if one.window_end == START + world.hour * EVERY}


def begin(world: World) -> float:
    return START + world.hour * EVERY + 60


def test_a_profile_of_another_signature_is_left_out(world: World):
    other = Recorder(layout(*_other()), "1")
    rows = shop.rows(100)
    other.add(begin(world), {"x": rows["x"]}, {"score": shop.answers(rows)["score"]})
    assert looked(world, other.take(begin(world) + 3600)) == {}
    rows = shop.rows(200, seed=1)
    mixed = [*profiles(rows, shop.answers(rows), begin(world), world)]
    other.add(begin(world), {"x": rows["x"]}, {"score": shop.answers(rows)["score"]})
    found = looked(world, [*mixed, *other.take(begin(world) + 3600)])
    assert sum(found["age"].detail["current"]) == 200
    assert {one.verdict for one in found.values()} == {"no drift"}


def _other() -> Any:
    from argosy.packaging import profile

    rows = shop.rows(200)
    inputs, outputs = shop.SIGNATURE.inputs[:1], shop.SIGNATURE.outputs[1:]
    made = profile.profile(
        shop.tensors({"x": rows["x"]}, inputs), shop.tensors(shop.answers(rows), outputs), inputs, outputs
    )
    return made, msgspec.structs.replace(shop.SIGNATURE, inputs=inputs, outputs=outputs)


def test_replicas_whose_clocks_differ_lose_no_row_and_none_counts_twice(world: World):
    """One is right, one a quarter of an hour ahead, one a minute behind."""
    seen = 0
    for hour in range(4):
        parts: list[Profile] = []
        for ahead in (0, 900, -60):
            for minute in range(0, 60, 10):
                rows = shop.rows(10, seed=hour * 1000 + minute + ahead + 60)
                parts += profiles(rows, shop.answers(rows), START + hour * EVERY + minute * 60 + 60 + ahead, world)
        found = looked(world, parts)
        seen += sum(found["age"].detail["current"])
        assert {one.verdict for one in found.values()} == {"no drift"}
    late = looked(world, [])
    assert seen + sum(late["age"].detail["current"]) == 4 * 180


def test_a_clock_that_is_far_ahead_waits_for_its_time(world: World):
    rows = shop.rows(100)
    far = profiles(rows, shop.answers(rows), begin(world) + 10 * EVERY, world)
    near = profiles(rows, shop.answers(rows), begin(world), world)
    assert sum(looked(world, [*far, *near])["age"].detail["current"]) == 100
    for _ in range(9):
        assert looked(world, []) == {}
    assert sum(looked(world, [])["age"].detail["current"]) == 100


@pytest.mark.slow
def test_a_million_distinct_categories(world: World):
    rows = shop.rows(1, seed=1)
    values = {"x": np.repeat(rows["x"], 1_000_000, axis=0), "email": np.repeat(rows["email"], 1_000_000)}
    answers = {"label": np.array([b"v%d" % place for place in range(1_000_000)], object), "score": np.zeros(1_000_000)}
    found = looked(world, profiles(values, answers, begin(world), world))
    assert found["label"].verdict == "drift"
    assert "unseen" in found["label"].detail["labels"]
    assert found["label"].detail["current"][-1] == 1_000_000
    assert len(msgspec.json.encode(found["label"].detail)) < 1000
    assert len(msgspec.msgpack.encode(STATES.get(world.store.database, "shop"))) < 1_000_000


def test_columns_that_are_missing_altogether_or_constant(world: World):
    rows = shop.rows(500)
    rows["x"][:, 0], rows["x"][:, 1] = np.nan, 7.0
    found = looked(world, profiles(rows, shop.answers(shop.rows(500)), begin(world), world))
    assert (found["age"].verdict, found["income"].verdict, found["distance"].verdict) == ("drift", "drift", "no drift")
    assert found["age"].detail["labels"][-1] == "missing"
    assert found["age"].detail["current"][-1] == 500
    assert found["age"].effect == pytest.approx(1.0)


def test_predictions_that_are_all_nan(world: World):
    rows = shop.rows(500)
    answers = shop.answers(rows) | {"score": np.full(500, np.nan)}
    found = looked(world, profiles(rows, answers, begin(world), world))
    assert (found["score"].kind, found["score"].verdict) == ("prediction", "drift")
    assert found["score"].detail["text"].startswith("missing 1.000")
    assert found["age"].verdict == "no drift"
    assert "score" in {each.subject for each in world.alerts() if each.kind == "prediction"}


def test_a_window_of_one_row(world: World):
    for hour in range(5):
        rows = shop.rows(1, seed=hour)
        found = looked(world, profiles(rows, shop.answers(rows), begin(world), world))
        assert {one.verdict for one in found.values()} == {"no drift"}
        assert sum(found["age"].detail["current"]) == 1


@pytest.mark.parametrize(("older", "verdict"), [pytest.param(0.0, "no drift", marks=pytest.mark.slow), (10.0, "drift")])
def test_a_window_of_a_million_rows(world: World, older: float, verdict: str):
    """Of the very rows of the reference: much data alone raises no alarm."""
    sample = shop.rows(200, seed=7)
    rows = {name: np.resize(array, (1_000_000, *array.shape[1:])) for name, array in sample.items()}
    rows["x"][:, 0] += older
    found = looked(world, profiles(rows, _answers(rows), begin(world), world))
    assert (found["age"].verdict, found["age"].rows) == (verdict, 1_000_000)
    assert found["distance"].verdict == "no drift"


def _answers(rows: dict[str, Any]) -> dict[str, Any]:
    labels = np.where(rows["x"][:, 0] > 40, b"yes", b"no").astype(object)
    return {"label": labels, "score": rows["x"].astype("f8").sum(axis=1)}
