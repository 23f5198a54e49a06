import io
import json
import pickle
import zipfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from argosy.engines import load
from argosy.engines.torch_file import objections, plain
from argosy.spec.errors import BadPackage, InvalidArgument, Untrusted

torch = pytest.importorskip("torch", reason="torch is not installed; `make torch` installs it and runs these tests")
pytestmark = pytest.mark.torch


class Net(torch.nn.Module):
    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.layer = torch.nn.Linear(4, 3)

    def forward(self, x):
        y = self.layer(x)
        return {"scores": y.softmax(-1), "best": y.argmax(-1)}


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return export(Net().eval(), (torch.zeros(2, 4),), tmp_path_factory.mktemp("torch") / "m.pt2")


def export(module, args, path: Path, axis: int | None = 0) -> Path:
    batch = torch.export.Dim("batch")
    dynamic = tuple({axis: batch} for _ in args) if axis is not None else None
    torch.export.save(torch.export.export(module, args, dynamic_shapes=dynamic), path)
    return path


def test_parity_and_threads(saved: Path) -> None:
    engine = load("torch", saved, threads=1)
    assert [(spec.name, spec.datatype, spec.shape) for spec in engine.signature.outputs] == [
        ("scores", "FP32", (-1, 3)),
        ("best", "INT64", (-1,)),
    ]
    assert engine.signature.inputs[0].shape == (-1, 4)
    assert engine.signature.batched
    x = np.random.default_rng(0).normal(size=(80, 4)).astype("f4")
    x.flags.writeable = False
    want = Net().eval()(torch.tensor(x))
    scores, best = engine.predict({"x": x})
    np.testing.assert_allclose(scores, want["scores"].detach().numpy(), atol=1e-6)
    np.testing.assert_array_equal(best, want["best"].numpy())
    with ThreadPoolExecutor(4) as pool:
        parts = list(pool.map(lambda at: engine.predict({"x": x[at : at + 1]})[0], range(80)))
    np.testing.assert_allclose(np.concatenate(parts), scores, atol=1e-6)
    assert np.isnan(engine.predict({"x": np.full((1, 4), np.nan, "f4")})[0]).all()


def test_a_fixed_shape_is_no_batch(tmp_path: Path) -> None:
    engine = load("torch", export(Net().eval(), (torch.zeros(2, 4),), tmp_path / "m.pt2", axis=None))
    assert not engine.signature.batched
    with pytest.raises(InvalidArgument, match="refused"):
        engine.predict({"x": np.zeros((3, 4), "f4")})


class Add(torch.nn.Module):
    def forward(self, a, b):
        return a + b


def test_bf16_and_several_inputs(tmp_path: Path) -> None:
    args = (torch.zeros(2, 3, dtype=torch.bfloat16),) * 2
    engine = load("torch", export(Add(), args, tmp_path / "m.pt2"))
    assert [(spec.name, spec.datatype) for spec in engine.signature.inputs] == [("a", "BF16"), ("b", "BF16")]
    one = np.full((1, 3), 0x3F80, np.uint16)
    assert engine.predict({"b": one, "a": one})[0].tolist() == [[0x4000] * 3]


def rewrite(source: Path, target: Path, change) -> Path:
    """The archive with every part passed through `change(name, data)`."""
    with zipfile.ZipFile(source) as old, zipfile.ZipFile(target, "w") as new:
        for name in old.namelist():
            new.writestr(name, change(name, old.read(name)))
    return target


class Harmful:
    def __reduce__(self):
        return (print, ("this must not run",))


def test_code_needs_trust(saved: Path, tmp_path: Path) -> None:
    def expression(name: str, data: bytes) -> bytes:
        return data.replace(b"Symbol('s", b"__import__('s") if name.endswith("model.json") else data

    def operator(name: str, data: bytes) -> bytes:
        return data.replace(b"torch.ops.aten.softmax.int", b"torch.os.system") if name.endswith("model.json") else data

    def sample(name: str, data: bytes) -> bytes:
        return pickle.dumps(Harmful()) if "sample_inputs" in name else data

    def pickled(name: str, data: bytes) -> bytes:
        return data.replace(b'"use_pickle": false', b'"use_pickle": true')

    assert objections(saved) == []
    for number, change in enumerate((expression, operator, sample, pickled)):
        path = rewrite(saved, tmp_path / f"{number}.pt2", change)
        with pytest.raises(Untrusted, match="could run code"):
            load("torch", path)


@pytest.mark.parametrize("text", ["Symbol('s77', positive=True, integer=True)", "2*s0 + 1", "Max(1, s3//2)", "u0 >= 2"])
def test_plain_expressions(text: str) -> None:
    assert plain(text)


@pytest.mark.parametrize(
    "text", ["__import__('os')", "open", "exec(s0)", "s0.__class__", "[s0]", "Symbol('s0', x=y)", "chr(1)"]
)
def test_other_expressions(text: str) -> None:
    assert not plain(text)


@pytest.mark.parametrize("part", [0.0, 0.1, 0.5, 0.9])
def test_cut_files(saved: Path, tmp_path: Path, part: float) -> None:
    data = saved.read_bytes()
    (tmp_path / "m").write_bytes(data[: int(len(data) * part)])
    with pytest.raises(BadPackage):
        load("torch", tmp_path / "m")


def test_what_is_no_program(tmp_path: Path) -> None:
    torch.save({"a": torch.zeros(1)}, tmp_path / "weights.pt")
    with pytest.raises(BadPackage, match=r"no torch\.export program"):
        load("torch", tmp_path / "weights.pt")
    with pytest.raises(BadPackage, match="folder"):
        load("torch", tmp_path)


def test_unexpected_json_is_no_crash(saved: Path, tmp_path: Path) -> None:
    def change(name: str, data: bytes) -> bytes:
        return json.dumps({"graph_module": io.DEFAULT_BUFFER_SIZE}).encode() if name.endswith("model.json") else data

    with pytest.raises(BadPackage, match="cannot load"):
        load("torch", rewrite(saved, tmp_path / "m", change))
