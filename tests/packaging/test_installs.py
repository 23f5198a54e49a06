"""A model that needs a library which nobody has installed: from the push to another home, by wheels in a folder."""

import json
import shutil
import signal
import subprocess
import sys

import joblib
import numpy as np
import pytest
from click.testing import CliRunner

import argosy
from argosy.cli.main import argosy as cli
from argosy.images.build import Builder, ImageModel, ImageOptions
from argosy.packaging import environment
from argosy.packaging.options import PushOptions
from argosy.packaging.package import stored
from argosy.packaging.push import push, verify
from argosy.spec.errors import GoldenMismatch, MissingExtra
from argosy.spec.settings import Home, Settings
from argosy.store import open_store
from tests import wheels

pytest.importorskip("uv")
pytestmark = pytest.mark.xdist_group("installs")

CLASS = """
import argosy_tiny


class Model:
    def load(self, path):
        self.factor = argosy_tiny.FACTOR

    def predict(self, inputs):
        return {"y": inputs["x"][:, 0] * self.factor}
"""
LINE = "argosy-tiny>=1"


def _push(home, source, **options):
    store = open_store(home, Settings())
    try:
        return push(source, name="m", store=store, options=PushOptions(**options), report=lambda step: None)
    finally:
        store.close()


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A model, its sample, and a folder of wheels that uv takes."""
    found = tmp_path_factory.mktemp("installs")
    (found / "model").mkdir()
    (found / "model" / "model.py").write_text(CLASS)
    (found / "model" / "requirements.txt").write_text(f"{LINE}\n")
    np.save(found / "x.npy", np.arange(8.0).reshape(4, 2))
    wheels.write(found / "wheels", "argosy-tiny", "1.0", "FACTOR = 2.0\n")
    return found


@pytest.fixture(autouse=True, scope="module")
def offline(folder):
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("UV_FIND_LINKS", str(folder / "wheels"))
        patch.setenv("UV_OFFLINE", "1")
        patch.setenv("ARGOSY_HOME", str(folder / "home"))
        yield


@pytest.fixture(scope="module")
def pushed(folder, offline):
    """The home with the version, pushed before the library had its next release."""
    home = Home(folder / "home").create()
    _push(home, folder / "model", sample=folder / "x.npy")
    wheels.write(folder / "wheels", "argosy-tiny", "1.1", "FACTOR = 3.0\n")
    return home


def _elsewhere(pushed, folder, *, locked):
    """Another home that has the store of the first."""
    shutil.copytree(pushed.store, folder / "store")
    shutil.copy(pushed.database, folder)
    store = open_store(Home(folder), Settings())
    if not locked:
        digest = store.registry.resolve("m").digest
        gone = {each.digest for each in store.layout.referrers(digest)}
        store.layout.index.change(lambda entries: tuple(each for each in entries if each.digest not in gone))
    return store


def test_another_home_installs_what_the_push_was_made_with(pushed, tmp_path):
    store = _elsewhere(pushed, tmp_path, locked=True)
    assert verify(store, "m").max_difference == 0
    (made,) = (tmp_path / "cache" / "environments").iterdir()
    assert (made / "argosy_tiny-1.0.dist-info").is_dir()
    store.close()


@pytest.mark.slow
def test_without_its_lock_the_next_release_is_installed_and_the_examples_notice(pushed, tmp_path):
    store = _elsewhere(pushed, tmp_path, locked=False)
    with pytest.raises(GoldenMismatch):
        verify(store, "m")
    store.close()


def test_a_push_that_may_not_install_names_the_command(folder, tmp_path):
    home = Home(tmp_path).create()
    with pytest.raises(MissingExtra, match=r"argosy-tiny>=1 \(not installed\): run  .*'argosy-tiny>=1'"):
        _push(home, folder / "model", sample=folder / "x.npy", install=False)
    home.config.write_text("store: {install: false}\n")
    with pytest.raises(MissingExtra, match="argosy-tiny>=1"):
        _push(home, folder / "model", sample=folder / "x.npy")
    assert not home.cache.exists()


def test_a_pickle_that_nobody_vouches_for_installs_nothing(tmp_path):
    joblib.dump([1.0], tmp_path / "model.joblib")
    with pytest.raises(MissingExtra, match="argosy-tiny>=1"):
        _push(Home(tmp_path / "home").create(), tmp_path / "model.joblib", requirements=(LINE,))
    assert not (tmp_path / "home" / "cache").exists()


def test_code_under_another_name_installs_nothing(tmp_path):
    (tmp_path / "model.txt").write_text(CLASS)
    with pytest.raises(MissingExtra, match="argosy-tiny>=1"):
        _push(Home(tmp_path / "home").create(), tmp_path / "model.txt", requirements=(LINE,))
    assert not (tmp_path / "home" / "cache").exists()


def test_show_tells_of_the_lock(pushed):
    assert "locked        1 package\n" in CliRunner().invoke(cli, ["models", "show", "m"]).stdout
    found = json.loads(CliRunner().invoke(cli, ["models", "show", "m", "--json"]).stdout)
    assert [(each["text"][:17], each["packages"], each["wrong"]) for each in found["locks"]] == [
        ("argosy-tiny==1.0 ", 1, "")
    ]


def test_an_image_has_the_same_lock(pushed):
    store = open_store(pushed, Settings())
    package = stored(store, store.registry.resolve("m").digest)
    store.close()
    model = ImageModel(package=package, name="m", version="1", digest=package.stored, trusted=True)
    assert Builder(pushed, ImageOptions()).wheel_locks(model)["requirements"].startswith("argosy-tiny==1.0 \\\n")


def test_a_process_loads_it_and_may_have_jobs_done_afterwards(pushed, folder, tmp_path, monkeypatch):
    monkeypatch.setattr(sys, "path", list(sys.path))
    monkeypatch.chdir(tmp_path)
    model = argosy.load("m")
    argosy.load("m").close()
    monkeypatch.delitem(sys.modules, "argosy_tiny")
    assert model.predict([[4.0, 1.0]])["y"].tolist() == [8.0]
    assert environment.lacking(pushed, [LINE])
    assert sum("environments" in each for each in sys.path) == 1
    done = argosy.batch("m", folder / "x.npy", tmp_path / "out", format="csv", workers=1, threads=1)
    (part,) = (tmp_path / "out").glob("part-*.csv")
    assert (done.out, part.read_text().split()) == (4, ['"y"', "0", "4", "8", "12"])


@pytest.mark.slow
def test_a_folder_is_served_with_what_it_requires(folder):
    command = [sys.executable, "-m", "argosy", "serve", str(folder / "model"), "--sample", str(folder / "x.npy")]
    refused = subprocess.run([*command, "--no-install"], capture_output=True, text=True, check=False)
    assert "argosy-tiny>=1 (not installed)" in refused.stderr
    with subprocess.Popen(
        [*command, "--name", "m", "--port", "0"], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        try:
            assert any("m is ready" in line for line in process.stdout), process.stderr.read()
        finally:
            process.send_signal(signal.SIGTERM)
            process.communicate()
