"""Iris requests in the forms that KServe's users send, written from the rules of the protocol, sent as bare bytes."""

import json
import struct

import grpc
import httpx
import numpy as np
import pytest

from argosy.engines.base import Engine
from argosy.spec.signature import Signature, TensorSpec
from argosy_conformance.messages import message

FLOWERS = [[6.8, 2.8, 4.8, 1.4], [6.0, 3.4, 4.5, 1.6]]
FLAT = [value for row in FLOWERS for value in row]
SPECIES = [1, 1]
LENGTH = "Inference-Header-Content-Length"


class Iris(Engine):
    """Species by the length of the petals: below 2.5 setosa (0), below 4.9 versicolor (1), else virginica (2)."""

    releases_gil = True
    signature = Signature(
        inputs=(TensorSpec(name="input-0", datatype="FP32", shape=(-1, 4)),),
        outputs=(TensorSpec(name="output-0", datatype="INT32", shape=(-1,)),),
    )

    def predict(self, inputs):
        return [np.digitize(inputs["input-0"][:, 2], [2.5, 4.9]).astype("i4")]


class IrisColumns(Engine):
    """The same with one input a column, as pandas-like models of the protocol take them."""

    releases_gil = True
    names = ("sepal_length", "sepal_width", "petal_length", "petal_width")
    signature = Signature(
        inputs=tuple(TensorSpec(name=name, datatype="FP64", shape=(-1, 1)) for name in names),
        outputs=(TensorSpec(name="output-0", datatype="INT32", shape=(-1, 1)),),
    )

    def predict(self, inputs):
        return [np.digitize(inputs["petal_length"], [2.5, 4.9]).astype("i4")]


@pytest.fixture
def replica(run_replica):
    return run_replica({"sklearn-iris": Iris(), "iris-columns": IrisColumns()})


def post(replica, model, body, **headers):
    if not isinstance(body, bytes):
        body = json.dumps(body).encode()
    fields = {name.replace("_", "-"): value for name, value in headers.items()}
    return httpx.post(f"{replica.url}/v2/models/{model}/infer", content=body, headers=fields)


def species(answer, name="output-0"):
    assert answer.status_code == 200, answer.text
    value = answer.json()
    output = next(item for item in value["outputs"] if item["name"] == name)
    assert output["datatype"] == "INT32"
    return output["data"]


@pytest.mark.parametrize("data", [FLOWERS, FLAT], ids=["nested", "flat"])
@pytest.mark.parametrize("parameters", [{}, {"content_type": "np"}], ids=["bare", "content_type"])
def test_json(replica, data, parameters):
    tensor = {"name": "input-0", "shape": [2, 4], "datatype": "FP32", "data": data}
    tensor |= {"parameters": parameters} if parameters else {}
    answer = post(replica, "sklearn-iris", {"inputs": [tensor]}, content_type="application/json")
    assert species(answer) == SPECIES


def test_json_with_everything_a_request_can_have(replica):
    body = {
        "id": "3ac1b9a9",
        "model_name": "sklearn-iris",
        "parameters": {"tracing": True, "weight": 0.5, "team": "flowers"},
        "inputs": [{"name": "input-0", "shape": [2, 4], "datatype": "FP32", "data": FLOWERS, "parameters": {"a": 1}}],
        "outputs": [{"name": "output-0", "parameters": {"binary_data": False}}],
    }
    answer = post(replica, "sklearn-iris", body)
    assert species(answer) == SPECIES
    assert answer.json()["id"] == "3ac1b9a9"
    assert answer.json()["model_name"] == "sklearn-iris"


def test_one_input_a_column(replica):
    inputs = [
        {"name": name, "shape": [2, 1], "datatype": "FP64", "data": [row[place] for row in FLOWERS]}
        for place, name in enumerate(IrisColumns.names)
    ]
    assert species(post(replica, "iris-columns", {"inputs": inputs})) == SPECIES


def test_binary_mixed_with_json(replica):
    """Columns alternate between JSON and bytes; only those with a size consume bytes."""
    inputs, raw = [], b""
    for place, name in enumerate(IrisColumns.names):
        column = [row[place] for row in FLOWERS]
        item = {"name": name, "shape": [2, 1], "datatype": "FP64"}
        if place % 2:
            item["data"] = column
        else:
            item["parameters"] = {"binary_data_size": 16}
            raw += struct.pack("<2d", *column)
        inputs.append(item)
    header = json.dumps({"inputs": inputs}).encode()
    headers = {LENGTH: str(len(header)), "Content-Type": "application/octet-stream"}
    answer = httpx.post(f"{replica.url}/v2/models/iris-columns/infer", content=header + raw, headers=headers)
    assert species(answer) == SPECIES


def all_binary(outputs=None, parameters=None):
    raw = struct.pack("<8f", *FLAT)
    value = {
        "inputs": [{"name": "input-0", "shape": [2, 4], "datatype": "FP32", "parameters": {"binary_data_size": 32}}]
    }
    value |= {"outputs": outputs} if outputs else {}
    value |= {"parameters": parameters} if parameters else {}
    header = json.dumps(value).encode()
    return header + raw, {LENGTH: str(len(header)), "Content-Type": "application/octet-stream"}


@pytest.mark.parametrize(
    ("outputs", "parameters", "binary"),
    [
        (None, None, False),
        (None, {"binary_data_output": True}, True),
        ([{"name": "output-0", "parameters": {"binary_data": True}}], None, True),
        ([{"name": "output-0", "parameters": {"binary_data": False}}], {"binary_data_output": True}, False),
        ([{"name": "output-0", "parameters": {"binary_data": True}}], {"binary_data_output": False}, True),
    ],
)
def test_all_binary(replica, outputs, parameters, binary):
    body, headers = all_binary(outputs, parameters)
    answer = httpx.post(f"{replica.url}/v2/models/sklearn-iris/infer", content=body, headers=headers)
    assert answer.status_code == 200, answer.text
    if not binary:
        assert LENGTH not in answer.headers
        assert species(answer) == SPECIES
        return
    length = int(answer.headers[LENGTH])
    value = json.loads(answer.content[:length])
    assert answer.headers["content-type"] == "application/octet-stream"
    assert value["outputs"][0]["parameters"] == {"binary_data_size": 8}
    assert "data" not in value["outputs"][0]
    assert list(struct.unpack("<2i", answer.content[length:])) == SPECIES


def test_ready_in_the_form_that_kserve_reads(replica):
    for path, want in {
        "/v2/health/live": {"live": True},
        "/v2/health/ready": {"live": True, "ready": True},
        "/v2/models/sklearn-iris/ready": {"name": "sklearn-iris", "ready": True},
    }.items():
        assert httpx.get(replica.url + path).json() == want


@pytest.mark.parametrize("raw", [True, False])
def test_grpc(replica, raw):
    asked = message("ModelInferRequest")(model_name="sklearn-iris", id="iris-1")
    item = asked.inputs.add(name="input-0", datatype="FP32", shape=[2, 4])
    if raw:
        asked.raw_input_contents.append(struct.pack("<8f", *FLAT))
    else:
        item.contents.fp32_contents.extend(FLAT)
    with grpc.insecure_channel(str(replica.grpc)) as channel:
        call = channel.unary_unary(
            "/inference.GRPCInferenceService/ModelInfer",
            request_serializer=lambda sent: sent.SerializeToString(),
            response_deserializer=message("ModelInferResponse").FromString,
        )
        answer = call(asked, timeout=60)
    assert answer.id == "iris-1"
    if raw:
        assert list(struct.unpack("<2i", answer.raw_output_contents[0])) == SPECIES
    else:
        assert list(answer.outputs[0].contents.int_contents) == SPECIES
