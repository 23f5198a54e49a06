"""SageMaker's multi-model requests: load, list, ask, unload; what is refused, and with which status."""

from functools import partial

import httpx
import pytest

from argosy.packaging.options import PushOptions
from argosy.serving import contracts, multimodel
from argosy.serving.config import ModelConfig
from argosy.serving.multimodel import MultiModelApp
from argosy.spec.errors import NotFound
from tests.cli.models import linear


def packaged(folder, weight):
    from argosy.packaging.build import build

    folder.mkdir()
    build(linear(folder / "m.onnx", weight=weight), "lin", folder / "package", PushOptions(), lambda step: None)
    return folder / "package"


@pytest.fixture(scope="module")
def packages(tmp_path_factory):
    place = tmp_path_factory.mktemp("packages")
    return {name: packaged(place / name, weight) for name, weight in (("one", 1.0), ("ten", 10.0))}


@pytest.fixture
def released():
    return []


@pytest.fixture
def client(run_replica, packages, released):
    def fetch(name, url):
        if not (found := packages.get(url)):
            raise NotFound(f"there is no model at {url}")
        return ModelConfig(name=name, package=str(found)), lambda: released.append(name)

    binding = contracts.bind("sagemaker", {"SAGEMAKER_MULTI_MODEL": "true"}, lambda path: False)
    running = run_replica({}, make_app=partial(MultiModelApp, binding=binding, fetch=fetch), grpc=False)
    with httpx.Client(base_url=running.url, trust_env=False) as client:
        yield client


def load(client, name, url):
    return client.post("/models", json={"model_name": name, "url": url}).status_code


def test_models_come_are_asked_and_go(client, released):
    assert client.get("/ping").status_code == 200
    assert client.get("/models").json() == {"models": []}
    assert [load(client, name, name) for name in ("one", "ten")] == [200, 200]
    assert client.get("/models").json() == {
        "models": [{"modelName": "one", "modelUrl": "one"}, {"modelName": "ten", "modelUrl": "ten"}]
    }
    assert client.get("/models/ten").json() == {"modelName": "ten", "modelUrl": "ten"}
    answers = [client.post(f"/models/{name}/invoke", json={"instances": [[1, 2, 3]]}) for name in ("one", "ten")]
    assert [answer.json() for answer in answers] == [{"predictions": [[6.0]]}, {"predictions": [[60.0]]}]
    assert client.delete("/models/ten").status_code == 200
    assert released == ["ten"]
    assert client.post("/models/ten/invoke", json=[[1, 2, 3]]).status_code == 404
    assert client.post("/models/one/invoke", json=[[1, 2, 3]]).status_code == 200
    assert load(client, "ten", "one") == 200
    assert client.post("/models/ten/invoke", json=[[1, 2, 3]]).json() == {"predictions": [[6.0]]}


def test_what_is_refused(client, released):
    assert load(client, "one", "one") == 200
    assert load(client, "one", "ten") == 409
    assert load(client, "other", "nowhere") == 404
    assert client.get("/models/other").status_code == 404
    assert client.delete("/models/other").status_code == 404
    assert client.get("/models/one/invoke").status_code == 404
    assert client.post("/models", json={"model_name": "x"}).status_code == 400
    assert client.post("/models", json={"model_name": "", "url": "one"}).status_code == 400
    assert not released
    assert client.get("/models").json()["models"] == [{"modelName": "one", "modelUrl": "one"}]


def test_a_model_that_would_not_fit_is_507_and_the_others_answer_on(client, monkeypatch, tmp_path):
    assert load(client, "one", "one") == 200
    (tmp_path / "big").write_bytes(b"x" * 100)
    monkeypatch.setattr(multimodel, "memory", lambda: 0)
    answer = client.post("/models", json={"model_name": "big", "url": str(tmp_path)})
    assert (answer.status_code, "unload another" in answer.json()["error"]) == (507, True)
    assert client.post("/models/one/invoke", json=[[1, 2, 3]]).status_code == 200
    assert client.get("/models/big").status_code == 404
