"""Contracts: found by the environment, bound to it, and answered beside the data plane."""

import io
import json
import subprocess
import sys
from functools import partial

import httpx
import numpy as np
import pytest

from argosy.engines.base import Engine
from argosy.serving import contracts
from argosy.serving.contract_app import TRITON, ContractApp, with_header
from argosy.serving.http import HttpApp
from argosy.spec.errors import InvalidArgument
from argosy.spec.signature import Signature, TensorSpec
from tests.serving.engines import Identity

COLUMNS = Signature(
    inputs=(TensorSpec(name="x", datatype="FP32", shape=(-1, 2), columns=("a", "b")),),
    outputs=(TensorSpec(name="sum", datatype="FP64", shape=(-1,)),),
)


class Sum(Engine):
    releases_gil = True
    signature = COLUMNS

    def predict(self, inputs):
        return [inputs["x"].sum(axis=1, dtype="f8")]


class Whole(Engine):
    """A model without rows: the sum of one vector."""

    releases_gil = True
    signature = Signature(
        inputs=(TensorSpec(name="x", datatype="FP32", shape=(3,)),),
        outputs=(TensorSpec(name="sum", datatype="FP64", shape=()),),
        batched=False,
    )

    def predict(self, inputs):
        return [np.asarray(inputs["x"].sum(dtype="f8"))]


@pytest.fixture
def serve(run_replica):
    clients = []

    def start(name, environ=None, engines=None):
        binding = contracts.bind(name, environ or {}, lambda path: False)
        running = run_replica(engines or {"sum": Sum()}, make_app=partial(ContractApp, binding=binding), grpc=False)
        clients.append(httpx.Client(base_url=running.url, trust_env=False))
        return clients[-1]

    yield start
    for client in clients:
        client.close()


@pytest.mark.parametrize(
    ("environ", "folders", "found"),
    [
        ({}, (), None),
        ({"PORT": "9"}, (), None),
        ({"SAGEMAKER_REGION": "x"}, (), None),
        ({"AIP_HTTP_PORT": "8080"}, (), "vertex"),
        ({"AZUREML_MODEL_DIR": "/m"}, (), "azureml"),
        ({"AWS_LAMBDA_RUNTIME_API": "127.0.0.1:9001"}, (), "lambda"),
        ({}, ("/opt/ml/model",), "sagemaker"),
        ({"SAGEMAKER_MULTI_MODEL": "true"}, (), "sagemaker"),
        ({}, ("/repository",), "huggingface"),
        ({"K_SERVICE": "x", "PORT": "8080"}, ("/mnt/models",), "kserve"),
        ({"K_SERVICE": "x", "PORT": "8080"}, (), "cloudrun"),
    ],
)
def test_the_environment_tells_the_contract(environ, folders, found):
    assert contracts.detect(environ, lambda path: path in folders) == found


def test_a_contract_takes_ports_paths_and_the_place_of_the_model_from_the_environment():
    environ = {
        "AIP_HTTP_PORT": "8181",
        "AIP_PREDICT_ROUTE": "/p/",
        "AIP_ENDPOINT_ID": "7",
        "AIP_DEPLOYED_MODEL_ID": "8",
    }
    bound = contracts.bind("vertex", environ | {"AIP_STORAGE_URI": "gs://b/m"}, lambda path: False)
    assert (bound.http.host, bound.http.port, bound.source) == ("0.0.0.0", 8181, "gs://b/m")
    assert bound.paths == {"/v1/endpoints/7/deployedModels/8": {"GET": "ready"}, "/p": {"POST": "invoke"}}
    kserve = contracts.bind("kserve", {}, lambda path: path == "/mnt/models")
    assert (kserve.http.port, kserve.grpc.port, kserve.source) == (8080, 9000, "/mnt/models")
    assert contracts.bind("cloudrun", {"PORT": "80"}, lambda path: path == "/models").source == "/models"
    assert contracts.bind("sagemaker", {"SAGEMAKER_MODEL_PATH": "/x"}, lambda path: path[:2] == "/x").source == "/x"


@pytest.mark.parametrize(
    ("environ", "message"),
    [({"AIP_HTTP_PORT": "http"}, "AIP_HTTP_PORT is 'http'"), ({"AIP_HEALTH_ROUTE": "health"}, "it must be a path")],
)
def test_an_environment_that_is_no_contract_is_refused(environ, message):
    with pytest.raises(InvalidArgument, match=message):
        contracts.bind("vertex", environ, lambda path: False)


def test_every_target_of_a_path_is_an_operation():
    for contract in contracts.CONTRACTS.values():
        targets = {*contract.paths.values(), *(one.target for one in contract.variables)}
        assert targets <= {"ready", "alive", "invoke", "execution_parameters"}


@pytest.mark.parametrize(
    ("kind", "body"),
    [
        ("application/json", b'{"instances": [[1, 2], [3, 4]]}'),
        ("application/json", b'{"instances": [[1, 2], [3, 4]], "parameters": {}}'),
        ("application/json", b'{"input_data": {"columns": ["b", "a"], "index": [0, 1], "data": [[2, 1], [4, 3]]}}'),
        ("application/json", b'{"input_data": [[1, 2], [3, 4]]}'),
        ("application/jsonlines", b'[1, 2]\n{"a": 3, "b": 4}'.replace(b'{"a": 3, "b": 4}', b"[3, 4]\n")),
        ("text/csv", b"1,2\n3,4\n"),
        ("text/csv", b"b,a\n2,1\n4,3\n"),
        ("text/csv; header=absent", b"1,2\n3,4\n"),
        ("application/x-npy", None),
    ],
)
def test_rows_in_every_form(serve, kind, body):
    if body is None:
        out = io.BytesIO()
        np.save(out, np.array([[1, 2], [3, 4]], "f4"))
        body = out.getvalue()
    client = serve("sagemaker")
    answer = client.post("/invocations", content=body, headers={"content-type": kind})
    assert (answer.status_code, answer.json()) == (200, {"predictions": [3.0, 7.0]})


@pytest.mark.parametrize(
    ("accept", "body"),
    [("text/csv", b"3.0\n7.0\n"), ("application/jsonlines", b"3.0\n7.0\n"), ("*/*", b'{"predictions":[3.0,7.0]}')],
)
def test_rows_are_answered_as_asked(serve, accept, body):
    answer = serve("sagemaker").post("/invocations", json=[[1, 2], [3, 4]], headers={"accept": accept})
    assert answer.content == body
    npy = serve("sagemaker").post("/invocations", json=[[1, 2]], headers={"accept": "application/x-npy"})
    assert np.load(io.BytesIO(npy.content)).tolist() == [3.0]


def test_tensors_pass_where_only_a_body_does(serve):
    client = serve("sagemaker")
    tensor = {"name": "x", "shape": [1, 2], "datatype": "FP32", "data": [1, 2]}
    assert client.post("/invocations", json={"inputs": [tensor]}).json()["outputs"][0]["data"] == [3.0]
    head = json.dumps(
        {
            "inputs": [tensor | {"parameters": {"binary_data_size": 8}, "data": None}],
            "parameters": {"binary_data_output": True},
        }
    ).replace(', "data": null', "")
    kind = f"{TRITON};json-header-size={len(head)}"
    body = head.encode() + np.array([1, 2], "<f4").tobytes()
    answer = client.post("/invocations", content=body, headers={"content-type": kind})
    assert answer.status_code == 200, answer.text
    media, _, size = answer.headers["content-type"].partition(";json-header-size=")
    assert media == TRITON
    assert np.frombuffer(answer.content[int(size) :], "<f8").tolist() == [3.0]


def test_the_custom_attributes_are_echoed_with_errors_too(serve):
    client, headers = serve("sagemaker"), {"X-Amzn-SageMaker-Custom-Attributes": "trace=1"}
    for body in (b"[[1, 2]]", b"nonsense", b"[" + b"[1, 2]," * 20_000 + b"[1, 2]]"):
        answer = client.post("/invocations", content=body, headers=headers)
        assert answer.headers["x-amzn-sagemaker-custom-attributes"] == "trace=1"
        assert answer.status_code == (400 if body == b"nonsense" else 200)
    assert "x-amzn-sagemaker-custom-attributes" not in client.get("/ping").headers


def test_execution_parameters_are_those_of_the_job(serve):
    assert serve("sagemaker").get("/execution-parameters").json()["BatchStrategy"] == "MULTI_RECORD"
    given = {
        "SAGEMAKER_BATCH_STRATEGY": "SINGLE_RECORD",
        "SAGEMAKER_MAX_PAYLOAD_IN_MB": "9",
        "SAGEMAKER_MAX_CONCURRENT_TRANSFORMS": "3",
    }
    assert serve("sagemaker", given).get("/execution-parameters").json() == {
        "MaxConcurrentTransforms": 3,
        "BatchStrategy": "SINGLE_RECORD",
        "MaxPayloadInMB": 9,
    }


def test_vertex_answers_one_prediction_for_each_instance_whatever_the_model(serve):
    client = serve("vertex", {"AIP_PREDICT_ROUTE": "/predict", "AIP_HEALTH_ROUTE": "/health"}, {"whole": Whole()})
    assert client.get("/health").status_code == 200
    assert client.post("/predict", json={"instances": [[1, 2, 3]]}).json() == {"predictions": [6.0]}
    two = client.post("/predict", json={"instances": [[1, 2, 3], [4, 5, 6]]})
    assert (two.status_code, "one instance at a time" in two.json()["error"]) == (400, True)
    batch = serve("vertex", {"AIP_PREDICT_ROUTE": "/predict"})
    assert batch.post("/predict", json={"instances": [[1, 2], [3, 4]]}).json() == {"predictions": [3.0, 7.0]}
    refused = batch.post("/predict", json={"instances": [[1, 2]], "parameters": {"top_k": 1}})
    assert (refused.status_code, "'parameters'" in refused.json()["error"]) == (400, True)


def test_the_data_plane_stays_reachable_and_other_methods_are_refused(serve):
    client = serve("huggingface")
    assert client.get("/v2/health/ready").json()["ready"]
    assert client.post("/v1/models/sum:predict", json={"instances": [[1, 2]]}).json() == {"predictions": [3.0]}
    assert client.head("/").status_code == 200
    refused = client.put("/")
    assert (refused.status_code, refused.headers["allow"]) == (405, "GET, POST")
    assert client.get("/nothing").status_code == 404


def test_rows_of_a_contract_may_be_larger(serve):
    body = b"[" + b"[1.%s, 2]," % (b"0" * 500) * 10_000 + b"[1, 2]]"
    assert serve("cloudrun").post("/invocations", content=body).status_code == 413
    assert len(serve("sagemaker").post("/invocations", content=body).json()["predictions"]) == 10_001


def test_no_contract_is_no_other_application(run_replica):
    running = run_replica({"identity": Identity("FP32")}, grpc=False)
    assert type(running.replica.app) is HttpApp


def test_a_header_is_where_names_are():
    names = Signature(
        inputs=tuple(TensorSpec(name=name, datatype="FP32", shape=(-1,)) for name in ("a", "b")),
        outputs=(TensorSpec(name="y", datatype="FP32", shape=(-1,)),),
    )
    wide = Signature(inputs=(TensorSpec(name="x", datatype="FP32", shape=(-1, 2)),), outputs=names.outputs)
    assert with_header(b"1,2\n", names) == b"a,b\n1,2\n"
    assert with_header(b"b,a\n1,2\n", names) == b"b,a\n1,2\n"
    assert with_header(b"p,q\n1,2\n", wide) == b"p,q\n1,2\n"
    assert with_header(b"1,2\n", wide) == b"c0,c1\n1,2\n"
    assert with_header(b"a,b\n", names, " header=absent") == b"a,b\na,b\n"
    assert with_header(b"7,8\n1,2\n", names, " header=present") == b"7,8\n1,2\n"


def test_sagemakers_own_client_asks_as_it_asks_sagemaker(serve):
    session = pytest.importorskip("botocore.session", reason="it is SageMaker's client: pip install botocore")
    keys = {"aws_access_key_id": "id", "aws_secret_access_key": "secret", "region_name": "us-east-1"}
    url = str(serve("sagemaker").base_url)
    client = session.get_session().create_client("sagemaker-runtime", endpoint_url=url, **keys)
    answer = client.invoke_endpoint(
        EndpointName="any", Body=b"1,2\n3,4\n", ContentType="text/csv", Accept="text/csv", CustomAttributes="trace=1"
    )
    assert answer["Body"].read() == b"3.0\n7.0\n"
    assert (answer["ContentType"], answer["CustomAttributes"]) == ("text/csv", "trace=1")
    with pytest.raises(client.exceptions.ClientError) as caught:
        client.invoke_endpoint(EndpointName="any", Body=b"nonsense")
    assert caught.value.response["ResponseMetadata"]["HTTPStatusCode"] == 400
    client.close()


BLOCKED = """
import importlib.abc, sys
class Blocker(importlib.abc.MetaPathFinder):
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in {"httpx", "jinja2", "sqlalchemy", "starlette", "grpc", "obstore", "cryptography"}:
            raise ImportError(f"{name} is not in an image")
sys.meta_path.insert(0, Blocker())
import argosy.cli.serve, argosy.client.serving, argosy.serving.lambda_runtime, argosy.serving.multimodel
"""


def test_contracts_need_nothing_that_an_image_has_not():
    subprocess.run([sys.executable, "-c", BLOCKED], check=True)
