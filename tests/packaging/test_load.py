import shutil
from importlib.metadata import EntryPoint

import msgspec
import numpy as np
import pandas as pd
import pytest

from argosy.engines import load as load_engine
from argosy.packaging.build import build
from argosy.packaging.load import load
from argosy.packaging.options import PushOptions
from argosy.packaging.package import open_package, write_manifest
from argosy.spec.errors import BadPackage, InvalidArgument, MissingExtra, NotFound, Untrusted
from argosy.spec.package import Scan


@pytest.fixture(scope="module")
def folder(trees, tmp_path_factory):
    """A LightGBM package: one input of the columns a, b, c; one output."""
    into = tmp_path_factory.mktemp("build") / "package"
    build(trees, "trees", into, PushOptions(convert=False), lambda _: None)
    return into


@pytest.fixture
def copy(folder, tmp_path):
    return shutil.copytree(folder, tmp_path / "package")


def changed(folder, **changes):
    package = open_package(folder)
    write_manifest(folder, msgspec.structs.replace(package.manifest, **changes))
    return open_package(folder)


def theirs(given):
    """An engine of another distribution: LightGBM's under another name."""
    return load_engine(
        "lightgbm", given.path, signature=given.signature, settings=given.settings, threads=given.threads
    )


@pytest.fixture
def installed(monkeypatch):
    """`theirs` is an engine by entry point, as of an installed distribution."""
    point = EntryPoint("theirs", f"{__name__}:theirs", "argosy.engines")
    monkeypatch.setattr("importlib.metadata.entry_points", lambda **_: [point])


def test_an_engine_of_another_distribution_runs_a_package(copy, installed):
    named = changed(copy, engine="theirs")
    assert named.manifest.engine == "theirs"
    assert "engine: theirs" in (copy / "model.yaml").read_text()
    rows = np.array([[1.0, 2.0, 3.0]])
    assert np.asarray(load(named).predict(rows)).shape == (1,)


def test_an_engine_of_another_distribution_can_be_chosen(installed):
    assert PushOptions(engine="theirs").engine == "theirs"


def test_an_unknown_engine_is_named_with_those_there_are(copy, installed):
    said = "there is no engine 'nobodys'; there are onnx, .*, python, .*, theirs"
    with pytest.raises(InvalidArgument, match=said):
        load(changed(copy, engine="nobodys"))
    with pytest.raises(InvalidArgument, match=said):
        PushOptions(engine="nobodys")


def test_rows_in_every_form_give_the_same_answer(folder):
    model = load(open_package(folder))
    rows = [[1.0, 2.0, 3.0], [0.5, np.nan, -1.0]]
    (want,) = model.predict(np.array(rows)).values()
    assert want.shape == (2,)
    frame = pd.DataFrame(rows, columns=["a", "b", "c"])[["c", "a", "b"]]
    dicts = [{"a": 1, "b": 2, "c": 3}, {"c": -1, "a": 0.5, "b": None}]
    for x in (rows, frame, dicts, {"x": np.array(rows)}, {"a": [1, 0.5], "b": [2, None], "c": [3, -1]}):
        (found,) = model.predict(x).values()
        assert (found == want).all()
    model.close()


def test_misfits_are_invalid_arguments(folder):
    model = load(open_package(folder))
    for x in (3, [[1, 2]], [{"a": 1}], {"d": [1]}, [["x", "y", "z"]], [[1, 2], [3]]):
        with pytest.raises(InvalidArgument):
            model.predict(x)


def test_what_is_not_installed_is_named_with_the_command(copy):
    needs = ("no-such-package==1.0", "numpy<1", "numpy>=1")
    with pytest.raises(MissingExtra, match=r"pip install 'no-such-package==1.0' 'numpy<1'"):
        load(changed(copy, requirements=needs))


def test_objections_without_trust_stay_unloaded(copy):
    with pytest.raises(Untrusted, match=r"os\.system"):
        load(changed(copy, scan=Scan(verdict="objected", objections=("os.system",))))


def test_packages_that_are_broken(copy, tmp_path):
    with pytest.raises(NotFound, match="no model package"):
        open_package(tmp_path)
    manifest = open_package(copy).manifest
    for weights, said in (("../../etc/passwd", "not allowed"), ("weights/none", "not there")):
        write_manifest(copy, msgspec.structs.replace(manifest, weights=weights))
        with pytest.raises(BadPackage, match=said):
            open_package(copy)
    (copy / "model.yaml").write_text("name: x\nengin: onnx\n")
    with pytest.raises(BadPackage, match=r"unknown key 'engin'.*did you mean 'engine'"):
        open_package(copy)


def test_golden_files_that_are_missing_cut_or_of_another_signature(copy):
    package = open_package(copy)
    spec = msgspec.structs.replace(package.manifest.signature.outputs[0], name="other")
    signature = msgspec.structs.replace(package.manifest.signature, outputs=(spec,))
    with pytest.raises(BadPackage, match="does not hold the outputs of the signature"):
        changed(copy, signature=signature).golden_outputs()
    path = copy / "golden" / "inputs.oip"
    path.write_bytes(path.read_bytes()[:-5])
    with pytest.raises(BadPackage):
        open_package(copy).golden_inputs()
    path.unlink()
    with pytest.raises(BadPackage, match=r"no golden examples: inputs.oip"):
        open_package(copy).golden_inputs()
