"""A package folder from elsewhere that vouches for itself, and what may be done with it."""

import json
import os
import pickle
import shutil
import subprocess
import sys
from pathlib import Path

import msgspec
import numpy as np
import pytest

import argosy
from argosy.client.local import locate
from argosy.packaging.load import CHECK, Check
from argosy.packaging.options import PushOptions
from argosy.packaging.push import push, verify
from argosy.packaging.quarantine import Quarantine
from argosy.protocol import tensorfile
from argosy.serving.config import ModelConfig, ReplicaConfig
from argosy.serving.server import Replica
from argosy.spec import strict
from argosy.spec.address import Address
from argosy.spec.errors import InvalidArgument, Untrusted
from argosy.spec.package import Conversion, ModelManifest, Scan, Source
from argosy.spec.settings import Home, Settings
from argosy.spec.signature import Signature, TensorSpec
from argosy.spec.tensor import Tensor
from argosy.store import open_store

ROWS = np.array([[1.0, 2.0], [3.0, 4.0]])
# In a sandbox the marker cannot be made, which is no error of what runs there with trust.
CODE = """
import contextlib, numpy, pathlib
with contextlib.suppress(OSError):
    pathlib.Path({marker!r}).touch()
class Model:
    def predict(self, inputs):
        return {{"y": inputs["x"].sum(axis=1)}}
"""


def write(folder: Path, engine: str, weights: str, settings: dict) -> Path:
    """A package around weights that are there already, which says of itself whatever helps it."""
    (folder / "golden").mkdir()
    y = ROWS.sum(axis=1)
    tensorfile.write(folder / "golden/inputs.oip", [Tensor("x", "FP64", ROWS)])
    tensorfile.write(folder / "golden/outputs.oip", [Tensor("y", "FP64", y)])
    manifest = ModelManifest(
        name="m",
        engine=engine,
        weights=weights,
        signature=Signature(
            inputs=(TensorSpec(name="x", datatype="FP64", shape=(-1, 2)),),
            outputs=(TensorSpec(name="y", datatype="FP64", shape=(-1,)),),
        ),
        source=Source(name="m", digest="sha256:" + "0" * 64, format="python"),
        conversion=Conversion(source=engine, converted=False, reason="it is fine"),
        scan=Scan(verdict="clean", trusted=True),
        settings=settings,
        golden_rows=2,
    )
    (folder / "model.yaml").write_text(strict.dump_yaml(manifest))
    return folder


@pytest.fixture
def marker(tmp_path: Path) -> Path:
    return tmp_path / "marker"


@pytest.fixture
def hostile(tmp_path: Path, marker: Path) -> Path:
    folder = tmp_path / "hostile"
    (folder / "weights").mkdir(parents=True)
    (folder / "weights/model.py").write_text(CODE.format(marker=str(marker)))
    return write(folder, "python", "weights", {"class": "model:Model"})


class Touch:
    """Pickled, it makes a file when it is loaded."""

    def __init__(self, marker: Path) -> None:
        self.marker = marker

    def __reduce__(self):
        return Path.touch, (self.marker,)


def disguised(folder: Path, engine: str, marker: Path) -> Path:
    """A package with a pickle for weights, alone or in an MLflow folder, that the package says is trusted."""
    weights = folder / "weights" / "m"
    weights.mkdir(parents=True)
    (weights / "model.pkl").write_bytes(pickle.dumps(Touch(marker)))
    pyfunc = "{loader_module: mlflow.sklearn, model_path: model.pkl}"
    (weights / "MLmodel").write_text(f"flavors: {{python_function: {pyfunc}}}\n")
    settings: dict[str, bool | str] = {"trusted_pickle": True}
    if engine == "sklearn":
        settings["trusted_types"] = "pathlib.Path.touch,pathlib.PosixPath"
    return write(folder, engine, "weights/m" if engine == "mlflow" else "weights/m/model.pkl", settings)


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Home:
    monkeypatch.setenv("ARGOSY_HOME", str(tmp_path / "home"))
    return Home(tmp_path / "home")


def pushed(home: Home, source: Path, **options):
    """The version in this home, and the home's store closed again."""
    store = open_store(home.create(), Settings())
    try:
        return push(source, name="m", store=store, options=PushOptions(**options), report=lambda step: None)
    finally:
        store.close()


def argosy_cli(*arguments: object) -> "subprocess.CompletedProcess[str]":
    command = [sys.executable, "-m", "argosy", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, timeout=100, check=False, env=dict(os.environ))


def test_it_is_not_loaded(hostile, marker):
    with pytest.raises(Untrusted, match="nobody here vouches"):
        argosy.load(hostile)
    assert not marker.exists()
    assert np.asarray(argosy.load(hostile, trust=True).predict(ROWS)).tolist() == [3, 7]
    assert marker.exists()


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:.*Any type hint is inferred:UserWarning")
@pytest.mark.parametrize("engine", ["sklearn", "mlflow"])
async def test_no_pickle_runs_because_its_package_says_that_it_is_trusted(engine, tmp_path, marker):
    folder = disguised(tmp_path / "package", engine, marker)
    with pytest.raises(Untrusted):
        argosy.load(folder)
    with pytest.raises(Untrusted), Quarantine("m") as child:
        child.run(CHECK, Check(folder=str(folder)), float)
    model = ModelConfig(name="m", package=str(folder))
    replica = Replica(ReplicaConfig(models=(model,), http=Address(path=str(tmp_path / "s"))))
    with pytest.raises(Untrusted):
        await replica.start()
    await replica.drain()
    assert not marker.exists()
    with pytest.raises(Exception, match="predict"):
        argosy.load(folder, trust=True)
    assert marker.exists()


def test_it_is_not_checked_in_quarantine_either(hostile, marker):
    with pytest.raises(Untrusted), Quarantine("m") as child:
        child.run(CHECK, Check(folder=str(hostile)), float)
    assert not marker.exists()


async def test_a_replica_does_not_load_it(hostile, marker, tmp_path):
    for given, works in (({}, False), ({"trusted": False}, False), ({"trusted": True}, True)):
        config = ReplicaConfig(
            models=(ModelConfig(name="m", package=str(hostile), **given),), http=Address(path=str(tmp_path / "s"))
        )
        replica = Replica(msgspec.json.decode(msgspec.json.encode(config), type=ReplicaConfig))
        if works:
            await replica.start()
            assert marker.exists()
        else:
            with pytest.raises(Untrusted):
                await replica.start()
            assert not marker.exists()
        await replica.drain()


def test_it_is_not_served(hostile, marker):
    done = argosy_cli("serve", hostile, "--port", 0)
    assert done.returncode == Untrusted.exit, done.stderr
    assert "vouches" in done.stderr
    assert not marker.exists()


@pytest.mark.slow
def test_batch_runs_it_only_with_trust(hostile, marker, tmp_path):
    for number, (rows, trust, status) in enumerate(((4000, (), Untrusted.exit), (1, ("--trust", "--workers", 1), 0))):
        out, given = tmp_path / f"out{number}", tmp_path / f"{rows}.npy"
        np.save(given, np.repeat(ROWS, rows, axis=0))
        done = argosy_cli("batch", "run", hostile, "--input", given, "--output", out, *trust)
        assert done.returncode == status, done.stderr
        assert status == 0 or not marker.exists()


def test_a_package_that_this_store_trusts_is_loaded_from_its_own_copy(home, tmp_path):
    source = tmp_path / "model.py"
    source.write_text(
        CODE.format(marker=str(tmp_path / "ran")).replace("predict", "load(self, path): pass\n    def predict")
    )
    np.save(tmp_path / "x.npy", ROWS)
    version = pushed(home, source, sample=tmp_path / "x.npy")
    assert version.trust is not None
    given = Path(shutil.copytree(argosy.load(version.ref).package.folder, tmp_path / "given"))
    located = locate(given)
    assert (located.trusted, located.folder.parent) == (True, home.packages)
    assert np.asarray(argosy.load(given).predict(ROWS)).tolist() == [3, 7]
    code = next(given.glob("weights/**/model.py"))
    code.chmod(0o644)
    code.write_text(code.read_text() + f"\nopen({str(tmp_path / 'altered')!r}, 'w')\n")
    with pytest.raises(Untrusted):
        argosy.load(given)
    assert not (tmp_path / "altered").exists()


def test_trust_is_said_of_paths_alone(home, tmp_path, hostile):
    with pytest.raises(InvalidArgument, match="whoever pushed it"):
        argosy.load("m:1", trust=True)


def test_code_under_another_name_than_py_needs_trust(home, tmp_path, marker):
    source = tmp_path / "weights.bin"
    source.write_text(CODE.format(marker=str(marker)).replace("predict", "load(self, path): pass\n    def predict"))
    np.save(tmp_path / "x.npy", ROWS)
    with pytest.raises(Untrusted, match="another name"):
        pushed(home, source, sample=tmp_path / "x.npy")
    with pytest.raises(Untrusted, match="another name"):
        argosy.load(source)
    assert not marker.exists()
    version = pushed(home, source, sample=tmp_path / "x.npy", trust=True)
    assert version.trust is not None


@pytest.mark.slow
def test_a_stored_version_runs_code_only_while_the_store_trusts_it(home, tmp_path, hostile, marker):
    """As if an earlier or altered Argosy had put it there: the manifest in the registry is of no account."""
    store = open_store(home.create(), Settings())
    try:
        manifest = strict.load_yaml((hostile / "model.yaml").read_text(), ModelManifest, "x")
        from tests.store.samples import model_lineage

        version = store.add(hostile, name="m", manifest=manifest, lineage=model_lineage())
        with pytest.raises(Untrusted):
            verify(store, "m:1")
        with pytest.raises(Untrusted):
            argosy.load("m:1")
        assert not marker.exists()
        shown = json.loads(argosy_cli("show", "m:1", "--json").stdout)
        assert shown["trust"] is None
        assert "may run no code" in argosy_cli("show", "m:1").stdout
        store.registry.register("m", version.digest, manifest=manifest, lineage=model_lineage(), size=1, trusted=True)
        assert verify(store, "m:1").golden_rows == 2
        assert "by ada" in argosy_cli("show", "m:1").stdout
        assert np.asarray(argosy.load("m:1").predict(ROWS)).tolist() == [3, 7]
    finally:
        store.close()
