import re

import pytest

from bench import envs

FILES = sorted(envs.REQUIREMENTS.glob("*.txt"))


def test_the_pinned_version_is_found():
    text = "uvicorn[standard]==0.54.0 \\\n    --hash=sha256:00\nfoo-bar==1.2 ; python_version > '3'\n"
    assert envs.pinned(text, "uvicorn") == "0.54.0"
    assert envs.pinned(text, "Foo-Bar") == "1.2"
    with pytest.raises(LookupError):
        envs.pinned(text, "foo")


@pytest.mark.parametrize("path", FILES, ids=lambda p: p.stem)
def test_requirements_are_pinned_and_hashed_and_name_no_index(path):
    text = path.read_text()
    pins = re.findall(r"(?m)^[a-z0-9].*?==.*$", text)
    assert pins
    assert all(pin.endswith("\\") for pin in pins)
    assert "://" not in text
    assert "--index-url" not in text


def test_every_environment_has_the_same_engine():
    engines = [path.stem for path in FILES if "\nonnxruntime==" in path.read_text()]
    assert len(engines) == 5
    assert len({envs.version(each, "onnxruntime") for each in engines}) == 1


def test_an_environment_is_installed_while_its_requirements_are_those_of_now(tmp_path, monkeypatch):
    for name in ("ENVS", "REQUIREMENTS"):
        monkeypatch.setattr(envs, name, tmp_path / name)
        (tmp_path / name).mkdir()
    (tmp_path / "REQUIREMENTS" / "a.txt").write_text("a==1")
    assert envs.installed("a") is None
    (tmp_path / "ENVS" / "a").mkdir()
    (tmp_path / "ENVS" / "a" / envs.STAMP).write_text(envs._digest("a"))
    assert envs.installed("a") == tmp_path / "ENVS" / "a"
    (tmp_path / "REQUIREMENTS" / "a.txt").write_text("a==2")
    assert envs.installed("a") is None
