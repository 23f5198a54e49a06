import sys
from importlib.metadata import EntryPoint
from pathlib import Path

import pytest

from argosy.engines import Engine, load, names
from argosy.engines.base import Loose
from argosy.spec.errors import InvalidArgument, MissingExtra
from argosy.spec.package import ENGINES
from argosy.spec.signature import Signature


class Nothing(Loose):
    signature = Signature(inputs=(), outputs=(), batched=False)

    def run(self, inputs):
        return {}


def start(path, signature, settings, threads, sample, trusted) -> Engine:
    assert threads >= 1
    assert trusted is (path.name == "vouched")
    return Nothing()


def test_engines_of_others(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    point = EntryPoint("theirs", f"{__name__}:start", "argosy.engines")
    monkeypatch.setitem(sys.modules, __name__, sys.modules[__name__])
    monkeypatch.setattr("importlib.metadata.entry_points", lambda **_: [point])
    assert names() == (*ENGINES, "theirs")
    assert load("theirs", tmp_path).predict({}) == []
    assert load("theirs", tmp_path / "vouched", trusted=True).predict({}) == []


def test_unknown_engines(tmp_path: Path) -> None:
    with pytest.raises(InvalidArgument, match="no engine 'onxx'; there are onnx"):
        load("onxx", tmp_path)


@pytest.mark.parametrize(
    ("engine", "module", "data"),
    [
        ("xgboost", "xgboost", b'{"learner": {"a": 1}}'),
        ("sklearn", "sklearn", b"x"),
    ],
)
def test_a_missing_framework_names_the_command(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, engine: str, module: str, data: bytes
) -> None:
    (tmp_path / "m").write_bytes(data)
    monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(MissingExtra, match=rf"pip install 'argosy\[{engine}\]'"):
        load(engine, tmp_path / "m")


def test_frameworks_are_imported_when_used() -> None:
    import subprocess

    code = (
        "import sys, argosy.engines; print([m for m in ('onnxruntime','sklearn','torch','pandas') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
