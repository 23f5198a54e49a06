"""Reference rows: named by content, kept, scored in a child, refused where they do not fit."""

import os
import time
from pathlib import Path

import msgspec
import numpy as np
import pandas as pd
import pytest

from argosy.monitoring.performance import reference
from argosy.monitoring.performance.reference import check_monitorable
from argosy.monitoring.performance.roles import roles
from argosy.packaging.package import Package
from argosy.spec.endpoint import Endpoint
from argosy.spec.errors import ArgosyError, InvalidArgument, NotFound
from argosy.spec.monitor import Monitor
from argosy.spec.payload import PayloadLog
from argosy.spec.settings import Home
from argosy.store.version import Version
from tests.monitoring.performance.live.conftest import world

LOG = PayloadLog()


def declared(path: Path, **more: object) -> Endpoint:
    monitor = msgspec.convert({"reference": str(path), "label": "bought", **more}, Monitor)
    return reference.pinned(Endpoint(name="shop", model="shop:1", payload=LOG, monitor=monitor))


def read(home: Home, endpoint: Endpoint, package: Package, version: Version) -> reference.Reference:
    assert endpoint.monitor is not None
    path = reference.scored(home, endpoint.monitor, package, version.digest, LOG)
    return reference.read(path, roles(endpoint.monitor, package.manifest.signature, LOG))


def test_what_the_model_answers_is_kept_with_features_and_labels(
    home: Home, held_out: Path, package: Package, version: Version
):
    endpoint = declared(held_out)
    check_monitorable(home, endpoint, package)
    rows = read(home, endpoint, package, version).rows
    truth = world(2000, seed=2)
    assert rows.names == ("input.age", "input.income")
    assert rows.features == pytest.approx(truth[["age", "income"]].to_numpy())
    assert rows.classes == ("0", "1")
    assert rows.labels is not None
    assert rows.labels.tolist() == truth["bought"].tolist()
    assert rows.scores is not None
    assert rows.decided.tolist() == (rows.scores >= 0.5).astype(int).tolist()
    assert 0.75 < float((rows.decided == rows.labels).mean()) < 0.9


@pytest.mark.slow
def test_a_later_change_of_the_file_does_no_harm(home: Home, held_out: Path, package: Package, version: Version):
    endpoint = declared(held_out)
    check_monitorable(home, endpoint, package)
    before = read(home, endpoint, package, version).rows
    held_out.write_bytes(b"gone")
    assert reference.pinned(endpoint) == endpoint
    for path in reference.folder(home).glob("*.scored"):
        path.unlink()
    assert read(home, endpoint, package, version).rows.features.tolist() == before.features.tolist()
    with pytest.raises(InvalidArgument, match=r"held-out\.parquet is not valid Parquet"):
        check_monitorable(home, declared(held_out), package)


@pytest.mark.slow
def test_another_version_answers_anew_and_the_same_one_once(
    home: Home, held_out: Path, package: Package, version: Version
):
    endpoint = declared(held_out)
    assert endpoint.monitor is not None
    one = reference.scored(home, endpoint.monitor, package, version.digest, LOG)
    written = one.stat().st_ino
    other = reference.scored(home, endpoint.monitor, package, "sha256:" + "0" * 64, LOG)
    assert one != other
    assert reference.scored(home, endpoint.monitor, package, version.digest, LOG).stat().st_ino == written


def test_a_changed_file_that_was_never_kept_is_not_taken_for_the_other(home: Home, held_out: Path, package: Package):
    endpoint = declared(held_out)
    held_out.write_bytes(held_out.read_bytes() + b"x")
    with pytest.raises(NotFound, match="is not the file of"):
        check_monitorable(home, endpoint, package)


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda t: t.rename(columns={"bought": "truth"}), "no column 'bought'.*monitor.label"),
        (lambda t: t.drop(columns="income"), "does not fit the model.*income"),
        (lambda t: t.assign(name="x"), "does not know the column 'name'"),
        (lambda t: t.assign(age="old"), "'old' is no number"),
        (lambda t: t.head(50), "50 rows with a label"),
        (lambda t: t.assign(bought=np.nan), "0 rows with a label"),
        (lambda t: t.assign(bought="yes"), "labels in the column 'bought' are yes.*monitor.classes"),
    ],
)
def test_rows_that_do_not_fit(home: Home, tmp_path: Path, package: Package, change, says):
    path = tmp_path / "bad.parquet"
    change(world(300, seed=3)).to_parquet(path)
    with pytest.raises(InvalidArgument, match=says):
        check_monitorable(home, declared(path), package)


@pytest.mark.parametrize("name", ["none.parquet", ".", "held-out.parquet/x.csv", "rows.xlsx"])
def test_files_that_cannot_be(tmp_path: Path, held_out: Path, name: str):
    with pytest.raises(ArgosyError, match=r"monitor\.reference"):
        declared(tmp_path / name)
    with pytest.raises(InvalidArgument, match="absolute"):
        declared(Path(name))


def test_csv_and_text_labels(home: Home, tmp_path: Path, package: Package, version: Version):
    table = world(400, seed=4)
    table["bought"] = np.where(table["bought"] == 1, "yes", "no")
    table.loc[:9, "bought"] = None
    table.to_csv(tmp_path / "rows.csv", index=False)
    endpoint = declared(tmp_path / "rows.csv", classes=("no", "yes"), positive="yes")
    check_monitorable(home, endpoint, package)
    rows = read(home, endpoint, package, version).rows
    assert rows.labels is not None
    assert len(rows.labels) == 390
    assert rows.labels.tolist() == (table["bought"][10:] == "yes").astype(int).tolist()


def test_what_the_log_hides_is_in_no_copy_of_ours(home: Home, held_out: Path, package: Package, version: Version):
    log = PayloadLog(hash=("age",))
    monitor = declared(held_out).monitor
    assert monitor is not None
    path = reference.scored(home, monitor, package, version.digest, log)
    assert pd.read_parquet(path).columns.tolist() == ["input.income", "output.probability", "label"]
    hidden = Endpoint(name="shop", model="shop:1", payload=log, monitor=Monitor(segments=("age",)))
    with pytest.raises(InvalidArgument, match="hidden in the payload log"):
        check_monitorable(home, hidden, package)
    with pytest.raises(InvalidArgument, match="no column 'city'"):
        check_monitorable(home, Endpoint(name="s", model="shop:1", monitor=Monitor(segments=("city",))), package)


@pytest.mark.slow
def test_what_no_declaration_needs_is_removed_after_a_day(
    home: Home, held_out: Path, package: Package, version: Version
):
    endpoint = declared(held_out)
    assert endpoint.monitor is not None
    read(home, endpoint, package, version)
    stray = reference.folder(home) / "0123456789abcdef"
    stray.write_bytes(b"")
    yesterday = time.time() - reference.UNUSED - 1
    for path in reference.folder(home).iterdir():
        os.utime(path, (yesterday, yesterday))
    reference.forget(home, [endpoint.monitor])
    assert [path.suffix for path in reference.folder(home).iterdir()] == [".parquet"]
    reference.forget(home, [])
    assert not list(reference.folder(home).iterdir())
