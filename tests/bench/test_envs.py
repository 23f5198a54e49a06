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
    assert len({envs.version(path.stem, "onnxruntime") for path in FILES}) == 1
