import contextlib
import os
import subprocess
import sys
import tempfile

import pytest

from argosy.platform.lock import Lock
from argosy.spec.errors import Conflict
from argosy.spec.settings import Home, load
from argosy_examples import home


def test_the_users_settings_stay_out(monkeypatch, tmp_path):
    monkeypatch.setenv("ARGOSY_STORE_DATABASE", "postgresql://somewhere/else")
    monkeypatch.setenv("ARGOSY_GATEWAY_PORT", "9000")
    monkeypatch.setenv("ARGOSY_GATEWAY_ENVOY", "/opt/envoy")
    monkeypatch.setenv("ARGOSY_HOME", "/somewhere")
    before = dict(os.environ)
    with home.environment():
        settings = load(Home(tmp_path))
        assert (settings.store.database, settings.gateway.port, settings.control.port) == ("", 0, 0)
        assert settings.gateway.envoy == "/opt/envoy"
        assert "ARGOSY_HOME" not in os.environ
    assert dict(os.environ) == before


def test_a_temporary_home_goes_and_a_given_one_stays(tmp_path):
    with home.home(None) as place:
        assert place.root.is_dir()
        assert str(os.getpid()) in place.root.name
    assert not place.root.exists()
    with home.home(tmp_path / "new") as place:
        home.work(place).mkdir(parents=True)
    with home.home(tmp_path / "new") as again:
        assert again.root == place.root
    assert home.work(place).is_dir()


def test_a_temporary_home_in_use_stays(tmp_path, monkeypatch):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    with contextlib.ExitStack() as running:
        with home.home(None) as place:
            running.enter_context(Lock(place.create()))
        assert place.root.is_dir()


def test_a_home_that_is_not_of_a_demo_is_left_alone(tmp_path):
    (tmp_path / "argosy.db").touch()
    with pytest.raises(Conflict, match="something else"):
        home.claim(tmp_path)
    assert os.listdir(tmp_path) == ["argosy.db"]


def test_a_home_in_use_is_left_alone(tmp_path):
    place = Home(tmp_path).create()
    home.work(place).mkdir()
    with Lock(place), pytest.raises(Conflict, match="argosy down"):
        home.claim(tmp_path)


def test_what_killed_demos_left_is_swept(tmp_path):
    dead = subprocess.Popen([sys.executable, "-c", ""])
    dead.wait()
    left = tmp_path / f"argosy-demo-{dead.pid}-abc"
    ours = tmp_path / f"argosy-demo-{os.getpid()}-abc"
    other = tmp_path / "argosy-demo-notes"
    for folder in (left, ours, other):
        Home(folder).create()
    home.sweep(tmp_path)
    assert sorted(tmp_path.iterdir()) == sorted([ours, other])
