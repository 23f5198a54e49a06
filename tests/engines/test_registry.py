import re
import sys
from importlib.metadata import EntryPoint
from pathlib import Path

import pytest

from argosy.engines import Engine, load, names
from argosy.engines.base import Loose, short
from argosy.spec import install
from argosy.spec.errors import InvalidArgument, MissingExtra
from argosy.spec.package import ENGINES
from argosy.spec.signature import Signature


class Nothing(Loose):
    signature = Signature(inputs=(), outputs=(), batched=False)

    def run(self, inputs):
        return {}


def start(given) -> Engine:
    assert given.threads >= 1
    assert given.trusted is (given.path.name == "vouched")
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
    with pytest.raises(MissingExtra, match=re.escape(f"pip install {install.extras(engine)}")):
        load(engine, tmp_path / "m")


def test_frameworks_are_imported_when_used() -> None:
    import subprocess

    code = (
        "import sys, argosy.engines; print([m for m in ('onnxruntime','sklearn','torch','pandas') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


NO_REASON = "it gives no reason in words; a damaged file, or one of another version, is likely (see --debug)"


@pytest.mark.parametrize(
    ("raw", "plain"),
    [
        ("[18:41:23] /workspace/src/common/json.cc:376: Unknown construct", "Unknown construct"),
        ("/src/src/objective/objective.cc:26: no such thing\nStack trace:\n  [bt] (0) /usr/lib/x.so", "no such thing"),
        ("[LightGBM] [Fatal] Model file is cut", "Model file is cut"),
        ("a sentence about a.cc and b", "a sentence about a.cc and b"),
        ("/src/a.cc:1: Check failed: a == b (4 vs. 3) : feature_names mismatch", "feature_names mismatch"),
        ("Check failed: indices.size() == n_nodes (4 vs. 3) : ", NO_REASON),
        ("map::at", NO_REASON),
        ("text with std::string in it", "text with std::string in it"),
    ],
)
def test_places_in_sources_of_frameworks_are_left_out_of_messages(raw, plain):
    assert short(RuntimeError(raw)) == plain
