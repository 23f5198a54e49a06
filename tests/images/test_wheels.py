import hashlib
import zipfile
from importlib.metadata import distribution
from pathlib import Path

import pytest
from packaging.requirements import Requirement

from argosy.images import wheels
from argosy.images.platforms import PLATFORMS
from argosy.spec.errors import InvalidArgument


@pytest.mark.parametrize("name", [wheels.SERVE, wheels.GRPC])
def test_a_lock_has_what_is_asked_for_within_the_bounds_of_argosy(name):
    pins = dict(each.split("==") for each in wheels.pins(wheels.lock_text(name)))
    bounds = {each.name: each for each in map(Requirement, distribution("argosy").requires)}
    serve = wheels.lock_text(wheels.SERVE)
    assert not [each for each in wheels.REQUIREMENTS[name] if each not in pins and f"\n{each}==" not in serve]
    assert not [each for each, version in pins.items() if each in bounds and version not in bounds[each].specifier]


def test_locks_name_digests_and_no_index():
    for name in wheels.REQUIREMENTS:
        text = wheels.lock_text(name)
        assert "--hash=sha256:" in text
        assert "://" not in text
        assert "index" not in text


def test_what_has_no_wheel_for_a_platform_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    pytest.importorskip("uv")
    file = tmp_path / "only_amd64-1.0-py3-none-manylinux_2_17_x86_64.whl"
    info = "only_amd64-1.0.dist-info"
    with zipfile.ZipFile(file, "w") as wheel:
        wheel.writestr("only_amd64.py", "")
        wheel.writestr(f"{info}/METADATA", "Metadata-Version: 2.1\nName: only-amd64\nVersion: 1.0\n")
        wheel.writestr(
            f"{info}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: false\nTag: py3-none-manylinux_2_17_x86_64\n"
        )
        wheel.writestr(f"{info}/RECORD", "")
    lock = f"only-amd64==1.0 --hash=sha256:{hashlib.sha256(file.read_bytes()).hexdigest()}\n"
    for name, value in {"NO_INDEX": "1", "FIND_LINKS": str(tmp_path), "CACHE_DIR": str(tmp_path / "cache")}.items():
        monkeypatch.setenv(f"UV_{name}", value)
    for platform in PLATFORMS.values():
        (tmp_path / platform.debian).mkdir()
    tree = wheels.tree_of(lock, PLATFORMS["linux/amd64"], "3.11", tmp_path / "amd64")
    assert "usr/local/lib/python3.11/dist-packages/only_amd64.py" in tree.nodes
    with pytest.raises(InvalidArgument, match=r"for aarch64-manylinux_2_36: .*only-amd64"):
        wheels.tree_of(lock, PLATFORMS["linux/arm64"], "3.11", tmp_path / "arm64")
