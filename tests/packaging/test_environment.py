import hashlib
import sys
import threading

import pytest

from argosy.packaging import environment, lock, requirements
from argosy.packaging.requirements import Needs
from argosy.spec.errors import InvalidArgument, MissingExtra, Unavailable
from argosy.spec.settings import Home
from tests import wheels
from tests.platform import packages

LINES = ("no-such-package==1.0",)
HASH = " \\\n    --hash=sha256:" + "0" * 64 + "\n"
LOCK = f"no-such-package==1.0{HASH}"
OTHERS = f"no-such-package==1.0{HASH}other==1.0{HASH}"


def _needs(lines=LINES, *, trusted=True, stored=""):
    return Needs(lines, trusted, stored)


@pytest.fixture
def home(tmp_path):
    return Home(tmp_path / "home").create()


@pytest.fixture
def made(monkeypatch):
    """Locks and folders that were made, by a uv that needs no index."""
    found = []

    def install(lock, target):
        found.append(lock.read_text())
        target.mkdir()
        (target / "sitecustomize.py").touch()
        (target / "module.py").touch()

    monkeypatch.setattr(environment, "compile_lock", lambda lines, **_: LOCK)
    monkeypatch.setattr(environment, "install", install)
    return found


def test_an_environment_is_made_once_and_has_nothing_that_runs_at_the_start(home, made):
    folders = []
    threads = [threading.Thread(target=lambda: folders.append(environment.prepare(home, _needs()))) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert made == [LOCK]
    assert len(set(folders)) == 1
    assert [path.name for path in folders[0].iterdir()] == ["module.py"]
    assert environment.prepare(home, _needs()) == folders[0]
    assert environment.variables(folders[0]) == {"ARGOSY_PACKAGES": str(folders[0])}


def test_none_is_made_where_all_is_installed(home, made):
    assert environment.prepare(home, _needs(("msgspec>=0.1",))) is None
    assert environment.variables(None) == {}
    assert made == []


def test_who_names_a_package_must_be_trusted_but_for_frameworks(home, made):
    assert environment.prepare(home, _needs(trusted=False)) is None
    assert made == []
    assert environment.prepare(home, _needs(("scikit-learn==0.1",), trusted=False)) is not None


def test_the_settings_can_forbid_it(home, made):
    home.config.write_text("store: {install: false}\n")
    assert environment.prepare(home, _needs()) is None
    assert made == []


def test_an_installation_that_fails_leaves_nothing(home, made, monkeypatch):
    def fail(lock, target):
        target.mkdir()
        raise OSError("broken")

    monkeypatch.setattr(environment, "install", fail)
    with pytest.raises(OSError, match="broken"):
        environment.prepare(home, _needs())
    assert sorted(path.name for path in home.cache.iterdir()) == ["environments.lock", "locks"]
    assert list(home.cache.glob("environments/*")) == []


def test_a_package_without_a_wheel_for_another_architecture(tmp_path, monkeypatch):
    pytest.importorskip("uv")
    wheel = wheels.write(tmp_path / "wheels", "only-x86", "1.0", tag="py3-none-manylinux_2_28_x86_64")
    text = tmp_path / "lock.txt"
    text.write_text(f"only-x86==1.0 --hash=sha256:{hashlib.sha256(wheel.read_bytes()).hexdigest()}\n")
    monkeypatch.setenv("UV_FIND_LINKS", str(wheel.parent))
    monkeypatch.setenv("UV_OFFLINE", "1")
    environment.install(text, tmp_path / "here", "3.11", "x86_64-manylinux_2_28")
    with pytest.raises(InvalidArgument, match=r"(?s)together for aarch64-manylinux_2_28: .*only-x86"):
        environment.install(text, tmp_path / "there", "3.11", "aarch64-manylinux_2_28")


def test_without_uv_the_message_says_how_to_get_it(monkeypatch):
    monkeypatch.setattr("argosy.packaging.environment.sys.executable", "/nowhere/python")
    monkeypatch.setattr("shutil.which", lambda name: None)
    with pytest.raises(environment.MissingExtra, match=r"uv.*images"):
        environment.uv()


def test_what_cannot_be_had_is_told_from_what_cannot_be_reached(tmp_path):
    with pytest.raises((environment.InvalidArgument, environment.Unavailable), match="no-such-package-of-argosy"):
        environment.compile_lock("no-such-package-of-argosy==1", python="3.11")


@pytest.fixture
def digest(home, store, tmp_path):
    """A package of the store, which is in the same home."""
    assert store.home.root == home.root
    return packages.push(store, tmp_path / "made", 2.0).digest


@pytest.fixture
def steps():
    return []


def test_the_lock_that_was_resolved_first_stays_with_the_package(home, made, digest, monkeypatch):
    environment.prepare(home, _needs(stored=digest))
    assert [each.text for each in lock.attached(home, digest, LINES)] == [LOCK]
    for file in (home.cache / "locks").iterdir():
        file.unlink()
    monkeypatch.setattr(environment, "compile_lock", None)
    assert environment.lock_of(home, _needs(stored=digest)) == LOCK


def test_a_lock_that_others_attached_counts_where_the_package_is_trusted(home, made, digest):
    lock.attach(home, digest, OTHERS)
    assert environment.lock_of(home, _needs(stored=digest)) == OTHERS
    assert environment.lock_of(home, _needs()) == LOCK


def test_of_a_package_that_nobody_vouches_for_only_versions_are_taken(home, digest, monkeypatch):
    lock.attach(home, digest, f"scikit-learn==1.5.1{HASH}other==1.0{HASH}")
    asked = {}
    monkeypatch.setattr(environment, "compile_lock", lambda lines, **given: asked.update(given, lines=lines) or LOCK)
    assert environment.lock_of(home, _needs(("scikit-learn<1.6",), trusted=False, stored=digest)) == LOCK
    assert (asked["lines"], asked["preferred"]) == ("scikit-learn<1.6", "scikit-learn==1.5.1\nother==1.0")
    assert len(lock.attached(home, digest, ["scikit-learn"])) == 1


@pytest.mark.parametrize("wrong", ["--index-url https://example.invalid\n", f"no-such-package==2.0{HASH}"])
def test_a_lock_that_does_not_fit_is_left_out_with_a_word(home, made, digest, steps, wrong):
    lock.attach(home, digest, wrong)
    assert environment.lock_of(home, _needs(stored=digest), steps.append) == LOCK
    assert "left out" in steps[0]
    assert [bool(each.wrong) for each in lock.attached(home, digest, LINES)] == [True, False]


def test_a_lock_that_a_driver_sends_is_installed_where_something_lacks(home, made):
    assert environment.prepare(home, _needs(), given=OTHERS).parent == home.cache / "environments"
    assert environment.prepare(home, _needs(trusted=False), given=OTHERS) is None
    assert environment.prepare(home, _needs(("msgspec",)), given=OTHERS) is None
    home.config.write_text("store: {install: false}\n")
    assert environment.prepare(home, _needs(), given=OTHERS) is None
    assert made == [OTHERS]


def test_what_runs_elsewhere_has_a_lock_if_one_can_be_had(home, made, monkeypatch, steps):
    assert environment.wanted(home, _needs(("msgspec",)), elsewhere=True) == LOCK
    assert environment.wanted(home, _needs(("msgspec",))) == ""
    assert environment.wanted(home, _needs(()), elsewhere=True) == ""

    def fail(*_, **__):
        raise Unavailable("no index")

    monkeypatch.setattr(environment, "compile_lock", fail)
    assert environment.wanted(home, _needs(("numpy",)), steps.append, elsewhere=True) == ""
    assert "no index" in steps[-1]
    with pytest.raises(Unavailable):
        environment.wanted(home, _needs(("none-such",)), elsewhere=True)


def test_a_process_with_an_environment_behind_its_path_keeps_what_it_has(home, monkeypatch):
    monkeypatch.setattr(sys, "path", list(sys.path))
    folder = home.cache / "environments" / "made"
    for name, version in (("msgspec", "0.0.1"), ("no-such-package", "1.0")):
        info = folder / f"{name.replace('-', '_')}-{version}.dist-info"
        info.mkdir(parents=True)
        (info / "METADATA").write_text(f"Name: {name}\nVersion: {version}\n")
    sys.path.append(str(folder))
    requirements.check_installed(LINES)
    with pytest.raises(MissingExtra, match=r"msgspec==0.0.1 \(.* is installed\)"):
        requirements.check_installed(["msgspec==0.0.1"])
    assert environment.lacking(home, LINES) == ["no-such-package==1.0 (not installed)"]
