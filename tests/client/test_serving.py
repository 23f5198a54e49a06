"""What `argosy serve` finds to serve: by name, where a contract has it, or in a bucket."""

import pytest

from argosy.client.serving import Serving, chosen, download
from argosy.packaging.options import PushOptions
from argosy.serving import contracts
from argosy.serving.config import ReplicaConfig
from argosy.spec.errors import InvalidArgument, NotFound
from argosy.store import objects
from tests.cli.models import linear


def test_the_contract_that_is_chosen():
    assert chosen("none", {"K_SERVICE": "x"}) is None
    assert chosen("auto", {}) is None
    assert chosen("auto", {"K_SERVICE": "x"}).name == "cloudrun"
    assert chosen("vertex", {"K_SERVICE": "x"}).name == "vertex"


def prepare(binding, source=None):
    with Serving(None, ReplicaConfig(models=()), PushOptions(), binding) as serving:
        return serving.prepare(source, lambda step: None)


def test_without_a_name_the_contract_must_have_a_model():
    with pytest.raises(InvalidArgument, match="FILE_OR_REF is missing"):
        prepare(None)
    with pytest.raises(NotFound, match="Cloud Run has put no model in /models, and FILE_OR_REF names none"):
        prepare(contracts.bind("cloudrun", {}, lambda path: False))
    multi = contracts.bind("sagemaker", {"SAGEMAKER_MULTI_MODEL": "true"}, lambda path: False)
    assert prepare(multi) is None


def test_a_model_in_a_bucket(s3, tmp_path):
    with pytest.raises(NotFound, match="there is nothing at"):
        download(f"{s3}/nowhere", tmp_path)
    path = linear(tmp_path / "lin.onnx")
    objects.put(f"{s3}/contract/deep/lin.onnx", path)
    binding = contracts.bind("vertex", {"AIP_STORAGE_URI": f"{s3}/contract"}, lambda path: False)
    assert binding.source == f"{s3}/contract"
    config = ReplicaConfig(models=())
    with Serving(None, config, PushOptions(), binding) as serving:
        folder = serving.prepare(None, lambda step: None)
        assert (folder / "model.yaml").is_file()
        assert serving.name == "lin"
    assert not folder.exists()
