import hashlib
import threading
import zipfile
from pathlib import Path

import pytest

from argosy.packaging import environment
from argosy.packaging.package import Package
from argosy.spec.errors import InvalidArgument
from argosy.spec.package import Conversion, ModelManifest, Scan, Source
from argosy.spec.settings import Home
from argosy.spec.signature import Signature, TensorSpec

LINES = ("no-such-package==1.0",)
LOCK = "no-such-package==1.0 \\\n    --hash=sha256:00\n"


def _package(lines=LINES, *, trusted=True):
    spec = TensorSpec(name="x", datatype="FP32", shape=(-1, 1))
    manifest = ModelManifest(
        name="m",
        engine="python",
        weights="weights",
        signature=Signature(inputs=(spec,), outputs=(spec,)),
        source=Source(name="m", digest=f"sha256:{'0' * 64}", format="python"),
        conversion=Conversion(source="python", converted=False, reason=""),
        scan=Scan(verdict="code"),
        requirements=lines,
    )
    return Package(Path("."), manifest, trusted)


@pytest.fixture
def home(tmp_path):
    return Home(tmp_path).create()


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
    threads = [threading.Thread(target=lambda: folders.append(environment.prepare(home, _package()))) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert made == [LOCK]
    assert len(set(folders)) == 1
    assert [path.name for path in folders[0].iterdir()] == ["module.py"]
    assert environment.ready(home, LINES) == folders[0]
    assert environment.variables(folders[0]) == {"ARGOSY_PACKAGES": str(folders[0])}


def test_none_is_made_where_all_is_installed(home, made):
    assert environment.prepare(home, _package(("msgspec>=0.1",))) is None
    assert environment.variables(None) == {}
    assert made == []


def test_who_names_a_package_must_be_trusted_but_for_frameworks(home, made):
    assert environment.prepare(home, _package(trusted=False)) is None
    assert made == []
    assert environment.prepare(home, _package(("scikit-learn==0.1",), trusted=False)) is not None


def test_the_settings_can_forbid_it(home, made):
    home.config.write_text("store: {install: false}\n")
    assert environment.prepare(home, _package()) is None
    assert made == []


def test_an_installation_that_fails_leaves_nothing(home, made, monkeypatch):
    def fail(lock, target):
        target.mkdir()
        raise OSError("broken")

    monkeypatch.setattr(environment, "install", fail)
    with pytest.raises(OSError, match="broken"):
        environment.prepare(home, _package())
    assert sorted(path.name for path in home.cache.iterdir()) == ["environments.lock", "locks"]
    assert environment.ready(home, LINES) is None


def test_a_package_without_a_wheel_for_another_architecture(tmp_path, monkeypatch):
    pytest.importorskip("uv")
    wheel = tmp_path / "wheels" / "only_x86-1.0-py3-none-manylinux_2_28_x86_64.whl"
    wheel.parent.mkdir()
    with zipfile.ZipFile(wheel, "w") as archive:
        archive.writestr("only_x86-1.0.dist-info/METADATA", "Metadata-Version: 2.1\nName: only-x86\nVersion: 1.0\n")
        archive.writestr("only_x86-1.0.dist-info/WHEEL", "Wheel-Version: 1.0\nTag: py3-none-manylinux_2_28_x86_64\n")
        archive.writestr("only_x86-1.0.dist-info/RECORD", "")
    lock = tmp_path / "lock.txt"
    lock.write_text(f"only-x86==1.0 --hash=sha256:{hashlib.sha256(wheel.read_bytes()).hexdigest()}\n")
    monkeypatch.setenv("UV_FIND_LINKS", str(wheel.parent))
    monkeypatch.setenv("UV_OFFLINE", "1")
    environment.install(lock, tmp_path / "here", "3.11", "x86_64-manylinux_2_28")
    with pytest.raises(InvalidArgument, match=r"(?s)together for aarch64-manylinux_2_28: .*only-x86"):
        environment.install(lock, tmp_path / "there", "3.11", "aarch64-manylinux_2_28")


def test_without_uv_the_message_says_how_to_get_it(monkeypatch):
    monkeypatch.setattr("argosy.packaging.environment.sys.executable", "/nowhere/python")
    monkeypatch.setattr("shutil.which", lambda name: None)
    with pytest.raises(environment.MissingExtra, match=r"uv.*images"):
        environment.uv()


def test_what_cannot_be_had_is_told_from_what_cannot_be_reached(tmp_path):
    with pytest.raises((environment.InvalidArgument, environment.Unavailable), match="no-such-package-of-argosy"):
        environment.compile_lock("no-such-package-of-argosy==1", python="3.11")
