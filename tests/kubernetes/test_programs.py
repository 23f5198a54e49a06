"""What `make kubernetes` builds: where it lies, and what is said where it is not there."""

import re
import subprocess
import sys

import pytest

from tests.kubernetes import plane, programs


@pytest.fixture
def cache(monkeypatch, tmp_path):
    monkeypatch.delenv("KUBEBUILDER_ASSETS", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path


def test_folder_is_named_by_what_is_pinned(cache, monkeypatch):
    monkeypatch.setattr(programs, "MODULE", cache)
    (cache / "containerd").mkdir()
    files = [cache / part / name for part in ("", "containerd") for name in ("go.mod", "go.sum")]
    for file in files:
        file.write_text("a")
    places = {programs.folder()}
    for file in files:
        file.write_text("b")
        places.add(programs.folder())
        file.write_text("a")
    assert len(places) == 5
    assert programs.folder() in places


def test_given_programs_are_used_and_nothing_is_built(cache, monkeypatch):
    monkeypatch.setenv("KUBEBUILDER_ASSETS", str(cache))
    monkeypatch.setenv("PATH", "")  # no go
    assert programs.build() == cache
    (cache / "etcd").touch()
    assert "kube-apiserver" in programs.missing()
    assert "etcd" not in programs.missing()


def test_build_that_fails_leaves_nothing_that_looks_built(cache, monkeypatch):
    (cache / "go").write_text("#!/bin/sh\necho no such module >&2\nexit 1\n")
    (cache / "go").chmod(0o755)
    monkeypatch.setenv("PATH", str(cache))
    done = subprocess.run([sys.executable, programs.__file__], check=False, capture_output=True, text=True)
    assert done.returncode == 1
    assert "no such module" in done.stderr
    assert not programs.folder().exists()


@pytest.mark.parametrize(("ci", "outcome"), [("true", pytest.fail.Exception), ("", pytest.skip.Exception)])
def test_tests_without_a_control_plane_are_skipped_but_fail_in_ci(cache, monkeypatch, ci, outcome):
    monkeypatch.setenv("CI", ci)
    with pytest.raises(outcome, match="run make kubernetes"), plane.running(cache):
        pass


def test_modules_of_kubernetes_tree_have_its_version():
    """A module that is not replaced would be looked for as v0.0.0, which nobody publishes."""
    content = (programs.MODULE / "go.mod").read_text()
    (version,) = re.findall(r"k8s.io/kubernetes v1(\.\S+)", content)
    replaced = dict(re.findall(r"(k8s.io/\S+) => \S+ v0(\S+)", content))
    assert set(replaced.values()) == {version}
    assert {*re.findall(r"(k8s.io/\S+) v0\.0\.0(?!-)", content)} <= replaced.keys()
