"""What a book takes of what comes, what it hides, and what it lets go of when too much waits."""

import time
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest

from argosy.monitoring.recorder import writer
from argosy.monitoring.recorder.writer import VersionBuffer, Writer
from argosy.profiles.profile import encode
from argosy.spec.errors import InvalidArgument
from argosy.spec.payload import PayloadLog
from argosy.spec.recorder import RecordedEndpoint, RecorderReport
from argosy.spec.settings import Home
from argosy.store.payloads import layout
from argosy.store.payloads.query import Query, read
from argosy.store.payloads.record import REQUEST, Rows
from tests.monitoring.recorder import shop


@pytest.fixture(scope="module")
def package(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("p") / "package"
    shop.write(folder)
    return folder


def opened(package: Path, profiles: bool = True, **payload: object) -> VersionBuffer:
    return VersionBuffer(
        "shop", "1", package, RecordedEndpoint(payload=PayloadLog(**payload), profiles=profiles), b"k" * 32
    )


def rows(weights: list[float], sizes: list[int] | None = None, at: float = 1e9) -> Rows:
    table = np.zeros(len(weights), REQUEST)
    table["weight"], table["time"], table["code"] = weights, int(at * 1e9), 200
    table["rows"] = sizes or [1] * len(weights)
    inputs = shop.rows(int(table["rows"].sum()), seed=1)
    ids = [f"id{place}" for place in range(len(weights))]
    return Rows(requests=table, ids=ids, inputs=inputs, outputs=shop.answers(inputs))


def test_the_log_gets_what_was_drawn_and_profiles_get_all(package: Path):
    made = opened(package)
    made.take("r0", rows([0, 4, 0, 4], [1, 2, 3, 1]))
    made.take("r0", rows([0, 0]))
    (kept,) = made.waiting()["r0"]
    assert list(kept.ids) == ["id1", "id3"]
    whole = shop.rows(7, seed=1)
    assert kept.inputs["email"].tolist() == [whole["email"][place] for place in (1, 2, 6)]
    assert made.waiting() == {}
    assert [one.rows for one in made.profiles(2e9) if not one.segment] == [9]
    assert made.profiles(2e9) == []


@pytest.mark.parametrize(
    ("hidden", "told"), [({}, "bad a@b"), ({"hash": ("email",)}, None), ({"redact": ("email",)}, None)]
)
def test_a_message_that_may_cite_what_is_hidden_is_not_kept(package: Path, hidden: dict[str, Any], told: str | None):
    made = opened(package, **hidden)
    made.take("r0", msgspec.structs.replace(rows([1]), outputs={}, failures=[("internal", "bad a@b")]))
    (kept,) = made.waiting()["r0"]
    table = made.encoder("r0").table(kept)
    assert (table["error"].to_pylist(), table["message"].to_pylist()) == (["internal"], [told])


def test_too_much_for_one_flush_is_dropped_and_counted(package: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(writer, "MOST_BYTES", 10_000)
    made = opened(package)
    for _ in range(20):
        made.take("r0", rows([1] * 20))
    kept = sum(len(part.requests) for part in made.waiting()["r0"])
    assert kept + made.dropped == 400
    assert 0 < kept < 400
    made.take("r0", rows([1]))
    assert sum(len(part.requests) for part in made.waiting()["r0"]) == 1


def test_rows_of_a_table_that_is_too_narrow_are_refused(package: Path):
    made = opened(package)
    one = rows([1])
    one.inputs["x"] = one.inputs["x"][:, :2]  # pyright: ignore[reportIndexIssue]
    made.take("r0", one)
    with pytest.raises(InvalidArgument):
        made.profiles(2e9)


def test_what_is_hidden_is_in_no_profile(package: Path):
    open_ones, hidden = opened(package), opened(package, hash=["label"], redact=["x", "email"])
    for made in (open_ones, hidden):
        made.take("r0", rows([1] * 20))
    plain, kept = (made.profiles(2e9)[0] for made in (open_ones, hidden))
    assert b"@example.org" in encode(plain)
    assert b"@example.org" not in encode(kept)
    assert kept.rows == plain.rows == 20


def test_without_a_reference_profile_there_is_a_log_alone(package: Path, tmp_path: Path):
    bare = tmp_path / "bare"
    shop.write(bare)
    (bare / "profile.json").unlink()
    made = opened(bare)
    assert made.layout is None
    made.take("r0", rows([1, 1]))
    assert made.profiles(2e9) == []
    assert len(made.waiting()["r0"]) == 1


def test_two_replicas_and_a_failure_are_one_file_an_hour(package: Path, tmp_path: Path):
    home, report = Home(tmp_path / "h").create(), RecorderReport(pid=1, started=0)
    made = opened(package)
    made.take("r0", rows([1, 1], [2, 1]))
    made.take("r1", rows([1]))
    refused = np.zeros(1, REQUEST)
    refused["code"], refused["weight"], refused["time"] = 400, 1, 10**18
    made.take("r1", Rows(requests=refused, ids=["bad"], inputs={}, outputs={}))
    made.take("r1", rows([1], at=1e9 + 3600))
    Writer(home, report).write(made, made.waiting())
    assert (report.records, report.dropped, report.problem) == (5, 0, "")
    assert len(layout.segments(home.payloads)) == 2
    lines = read(home.payloads, Query(endpoint="shop")).table.to_pylist()
    assert sorted((line["replica"], line["request_id"], line["row"], line["rows"]) for line in lines) == [
        ("r0", "id0", 0, 2),
        ("r0", "id0", 1, 2),
        ("r0", "id1", 0, 1),
        ("r1", "bad", 0, 0),
        ("r1", "id0", 0, 1),
        ("r1", "id0", 0, 1),
    ]
    (bad,) = [line for line in lines if line["request_id"] == "bad"]
    assert bad["input.age"] is None
    assert bad["code"] == 400


def test_what_is_past_its_time_goes(package: Path, tmp_path: Path):
    from argosy.spec.recorder import RecorderConfig

    home, report = Home(tmp_path / "h").create(), RecorderReport(pid=1, started=0)
    keeper, made = Writer(home, report), opened(package, keep_days=1)
    for at in (time.time() - 3 * 86400, time.time()):
        made.take("r0", rows([1], at=at))
    keeper.write(made, made.waiting())
    keeper.tidy(RecorderConfig(endpoints={"shop": made.declared}), [])
    assert report.removed == 1
    assert len(layout.segments(home.payloads)) == 1


def test_segments_that_a_version_lacks_or_the_log_hides_have_no_profiles(package: Path):
    kept = RecordedEndpoint(payload=PayloadLog(hash=("age",)), segments=("label", "age", "none"))
    made = VersionBuffer("shop", "1", package, kept, b"k" * 32)
    made.take("r0", rows([1] * 20))
    assert {one.segment for one in made.profiles(2e9)} == {"", "label=yes", "label=no"}
