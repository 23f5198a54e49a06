"""Names of inputs and outputs: those of the push, else of the sample, else of the model."""

import contextlib

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression

from argosy.client.local import locate
from argosy.packaging.load import load
from argosy.packaging.options import PushOptions
from argosy.packaging.package import open_package
from argosy.spec.errors import InvalidArgument
from tests.packaging.conftest import pickled

X = np.array([[0.0, 1.0], [1.0, 0.0], [2.0, 3.0], [3.0, 1.0]])
MODEL = LogisticRegression().fit(X, ["no", "no", "yes", "yes"])
WANTED = MODEL.predict(X).tolist()


@pytest.fixture
def built():
    """Make a package, and delete it at the end."""
    with contextlib.ExitStack() as stack:

        def make(path, **options):
            located = locate(path, PushOptions(**options))
            stack.callback(located.release)
            return open_package(located.folder, trusted=located.trusted)

        yield make


@pytest.fixture
def source(tmp_path):
    np.savez(tmp_path / "sample.npz", flower=X)
    return pickled(MODEL, tmp_path / "model.pkl")


def names(version):
    return [
        [spec.name for spec in side] for side in (version.manifest.signature.inputs, version.manifest.signature.outputs)
    ]


@pytest.mark.parametrize("convert", [True, False])
def test_names_of_the_push(built, source, convert):
    sample = source.parent / "sample.npz"
    given = {"input_names": ("iris",), "output_names": ("kind", "chances"), "sample": sample, "convert": convert}
    version = built(source, **given)
    assert names(version) == [["iris"], ["kind", "chances"]]
    model = load(version)
    assert model.predict({"iris": X}).kind.tolist() == WANTED
    assert model.predict(X[0]).chances.shape == (1, 2)
    assert model.signature.outputs[1].classes == ("no", "yes")
    features = model.package.profile()
    assert {feature.tensor for feature in features.inputs} == {"iris"}
    assert {feature.tensor for feature in features.outputs} == {"kind", "chances"}


def test_names_of_the_sample_are_kept(built, source):
    version = built(source, sample=source.parent / "sample.npz")
    assert names(version) == [["flower"], ["label", "probabilities"]]
    assert load(version).predict({"flower": X}).label.tolist() == WANTED


def test_a_name_for_each_is_needed(built, source):
    with pytest.raises(InvalidArgument, match=r"1 names for the 2 outputs of the model \(label, probabilities\)"):
        built(source, output_names=("kind",))
    with pytest.raises(InvalidArgument, match="two outputs share a name"):
        built(source, output_names=("kind", "kind"))
