"""`argosy.batch`: the call, on models by reference, by digest and by path."""

import json
import os
import threading
from pathlib import Path

import pytest

import argosy
from argosy.batch.ledger import Ledger
from argosy.batch.place import place
from argosy.spec.errors import Conflict, InvalidArgument, NotFound
from argosy.spec.settings import load
from argosy.store import open_store
from tests.batch import kit

ROWS = 100


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    return kit.home(tmp_path_factory.mktemp("home"))


@pytest.fixture(autouse=True)
def at_home(home, monkeypatch):
    monkeypatch.setenv("ARGOSY_HOME", str(home.root))


@pytest.fixture
def data(tmp_path):
    return kit.write(tmp_path / "data", kit.table(range(ROWS)))


@pytest.mark.slow
def test_a_reference_a_digest_and_a_folder_are_the_same_model(home, data, tmp_path):
    store = open_store(home, load(home))
    digest = store.registry.resolve("picky:1").digest
    store.registry.set_alias("picky", "champion", 1)
    store.close()
    found = [
        argosy.batch(model, data, tmp_path / f"out{number}", keep=["id"], workers=1)
        for number, model in enumerate(["picky@champion", digest, kit.package(home, "picky")])
    ]
    assert {one.model for one in found} == {digest}
    assert len({one.seal.digest for one in found}) == 1
    assert [(one.rows, one.out, one.answered) for one in found] == [(ROWS, ROWS, ROWS)] * 3
    assert kit.ids(tmp_path / "out1") == list(range(ROWS))
    assert os.path.exists(found[0].report)


def test_it_can_be_called_again_although_a_room_has_its_name(data, tmp_path):
    import argosy.batch.driver

    assert argosy.batch("picky:1", [data], tmp_path / "out", workers=1).out == ROWS
    assert argosy.batch.driver.TICK


def test_an_alias_that_moves_does_not_change_a_job_that_was_begun(home, data, tmp_path):
    job = {"keep": ("id",), "checkpoint": 0.0, "fragment_rows": 10}
    plan = kit.planned(kit.package(home, "picky"), data, tmp_path / "out", **job)
    store = open_store(home, load(home))
    digest = store.registry.resolve("picky:1").digest
    store.registry.set_alias("times", "best", 1)
    store.close()
    import msgspec

    model = msgspec.structs.replace(plan.model, digest=digest, name="picky", version="1")
    begun = msgspec.structs.replace(plan.job, model="times@best", inputs=(str(data),))
    Ledger(place(str(tmp_path / "out"))).begin(msgspec.structs.replace(plan, model=model, job=begun))
    found = argosy.batch("times@best", data, tmp_path / "out", resume=True, keep=["id"], fragment_rows=10)
    assert (found.model, found.out) == (digest, ROWS)


def test_it_runs_in_a_thread_that_gets_no_signals(data, tmp_path):
    found = []
    thread = threading.Thread(target=lambda: found.append(argosy.batch("picky:1", data, tmp_path / "out", workers=1)))
    thread.start()
    thread.join(60)
    assert found[0].out == ROWS


def test_the_report_names_the_columns_that_were_not_used(tmp_path):
    table = kit.table(range(ROWS)).append_column("a<b", [["?"] * ROWS])
    data = kit.write(tmp_path / "data", table)
    found = argosy.batch("picky:1", data, tmp_path / "out", workers=1)
    page = Path(found.report)
    assert json.loads(page.with_name("report.json").read_bytes())["unused"] == ["id", "a<b"]
    assert "<dt>Columns not used</dt><dd>id, a&lt;b</dd>" in page.read_text()
    used = argosy.batch("picky:1", data, tmp_path / "kept", keep=["id", "a<b"], workers=1)
    assert json.loads(Path(used.report).with_name("report.json").read_bytes())["unused"] == []
    assert "Columns not used" not in Path(used.report).read_text()


@pytest.mark.parametrize("progress", [True, False])
def test_python_is_told_of_columns_that_are_not_used_where_it_wants_to_see(data, tmp_path, capsys, progress):
    argosy.batch("picky:1", data, tmp_path / "out", workers=1, progress=progress)
    assert ("left out: 'id'" in capsys.readouterr().err) == progress


@pytest.mark.parametrize(
    ("settings", "error", "said"),
    [
        ({"fragment_row": 5}, InvalidArgument, "did you mean 'fragment_rows'"),
        ({"on_error": "ignore"}, InvalidArgument, "on_error"),
        ({"keep": ["idd"]}, InvalidArgument, "did you mean 'id'"),
        ({"keep": ["id", "id"]}, InvalidArgument, "twice"),
        ({"map": {"z": "x"}}, InvalidArgument, "'z' is no input"),
        ({"checkpoint": -1.0}, InvalidArgument, "checkpoint must be"),
        ({"patience": 0.5}, InvalidArgument, "patience must be .* at least 2 seconds"),
        ({"inputs": "nowhere.parquet"}, NotFound, "nowhere.parquet"),
        ({"inputs": []}, InvalidArgument, "names no input"),
        ({"model": "unknown:1"}, NotFound, "unknown"),
        ({"output": "ftp://bucket/out"}, InvalidArgument, "not in ftp://"),
    ],
)
def test_what_does_not_fit_is_refused_before_anything_is_written(data, tmp_path, settings, error, said):
    given = {"model": "picky:1", "inputs": data, "output": tmp_path / "out"} | settings
    with pytest.raises(error, match=said):
        argosy.batch(**given)
    assert not (tmp_path / "out").exists()


def test_a_second_job_in_a_folder_is_refused(data, tmp_path):
    argosy.batch("picky:1", data, tmp_path / "out", workers=1)
    with pytest.raises(Conflict, match="a job was begun"):
        argosy.batch("picky:1", data, tmp_path / "out")
