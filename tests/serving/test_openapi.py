"""The document of each model: valid, of its real columns, with examples that it answers; and the page that shows it."""

import base64
import hashlib
import json
import re

import httpx
import numpy as np
import pytest
from jsonschema import Draft202012Validator
from openapi_spec_validator import OpenAPIV31SpecValidator

from argosy.engines.base import Engine
from argosy.protocol.openai import MOST_TEXTS
from argosy.serving.openapi import document
from argosy.serving.schemas import fixed
from argosy.spec.signature import Signature, TensorSpec
from argosy.spec.tensor import Tensor, as_bytes
from tests.serving.conftest import RunningReplica
from tests.serving.engines import Identity
from tests.serving.test_rows import COLUMNS, Flowers


class Mixed(Engine):
    """Two scores of a text, an image and a flag that may be left out."""

    releases_gil = True
    signature = Signature(
        inputs=(
            TensorSpec(name="text", datatype="BYTES", shape=(-1,), nullable=True),
            TensorSpec(name="image", datatype="UINT8", shape=(-1, 2, -1)),
            TensorSpec(name="flag", datatype="BOOL", shape=(-1, 1), optional=True),
        ),
        outputs=(
            TensorSpec(name="size", datatype="INT32", shape=(-1,)),
            TensorSpec(name="sum", datatype="FP32", shape=(-1, 1)),
        ),
    )

    def predict(self, inputs):
        sizes = np.array([len(text) for text in inputs["text"]], "i4")
        return [sizes, inputs["image"].sum((1, 2), "f4").reshape(-1, 1)]


class Whole(Engine):
    """Inputs without rows: the product of a matrix and a number."""

    releases_gil = True
    signature = Signature(
        inputs=(TensorSpec(name="a", datatype="FP32", shape=(2, 2)), TensorSpec(name="b", datatype="INT64", shape=())),
        outputs=(TensorSpec(name="y", datatype="FP32", shape=(2, 2)),),
        batched=False,
    )

    def predict(self, inputs):
        return [(inputs["a"] * inputs["b"]).astype("f4")]


def tensors(**arrays):
    return [
        Tensor(name, "BYTES" if array.dtype == object else {"u": "UINT8", "i": "INT64", "b": "BOOL"}.get(
            array.dtype.kind, "FP64" if array.dtype == "f8" else "FP32"), array)
        for name, array in arrays.items()
    ]  # fmt: skip


MODELS = {
    "flowers": (Flowers(), tensors(x=np.array([[6.8, np.nan, 4.8, 1.23456]]))),
    "mixed": (
        Mixed(),
        tensors(text=as_bytes(np.array(["é"], object)), image=np.ones((1, 2, 3), "u1"), flag=np.array([[True]])),
    ),
    "whole": (Whole(), tensors(a=np.eye(2, dtype="f4"), b=np.array(3))),
    "plain": (Identity(), tensors(x=np.array([[1.5, 2]], "f4"))),
}


@pytest.fixture(scope="module", params=MODELS)
def served(request):
    engine, example = MODELS[request.param]
    with RunningReplica({request.param: engine}) as replica:
        replica.replica.plane.get(request.param).example = example
        yield replica, request.param


def read(replica, path="/openapi.json"):
    answer = httpx.get(replica.url + path)
    assert answer.status_code == 200, answer.text
    return answer.json()


def validator(found, schema):
    return Draft202012Validator({**schema, "components": found["components"]})


@pytest.mark.parametrize("below", [False, True])
def test_the_document_is_valid_and_its_examples_are_answered(served, below):
    replica, name = served
    base = f"/endpoints/{name}" if below else ""
    found = read(replica, f"{base}/openapi.json")
    OpenAPIV31SpecValidator(found).validate()
    assert found["info"]["title"] == name
    asked = 0
    for path, item in found["paths"].items():
        for method, operation in item.items():
            if method != "post" or "requestBody" not in operation:
                continue
            content = operation["requestBody"]["content"]["application/json"]
            assert "{" not in path
            validator(found, content["schema"]).validate(content["example"])
            url = replica.url + ("" if "servers" in item else base) + path
            answer = httpx.post(url, json=content["example"])
            assert answer.status_code == 200, answer.text
            validator(found, operation["responses"]["200"]["content"]["application/json"]["schema"]).validate(
                answer.json()
            )
            asked += 1
    assert asked == 3


def test_columns_and_outputs_are_the_real_ones():
    with RunningReplica({"flowers": Flowers()}) as replica:
        parts = read(replica)["components"]["schemas"]
    assert parts["Row"] == {
        "type": "object",
        "required": list(COLUMNS),
        "properties": {name: {"type": ["number", "null"]} for name in COLUMNS},
        "additionalProperties": False,
    }
    assert parts["Predictions"]["properties"]["predictions"] == {"type": "array", "items": {"type": "string"}}


def test_wrong_rows_do_not_fit_the_schema(served):
    found = read(served[0])
    row = validator(found, {"$ref": "#/components/schemas/Row"})
    right = dict.fromkeys(found["components"]["schemas"]["Row"]["required"])
    assert not row.is_valid(right | {"no such column": 1})
    assert not row.is_valid({})


def test_of_any_model():
    OpenAPIV31SpecValidator(document()).validate()


def test_the_page_runs_nothing_but_its_own(served):
    replica, name = served
    for path in ("/docs", f"/endpoints/{name}/docs"):
        answer = httpx.get(replica.url + path)
        assert answer.headers["content-type"] == "text/html; charset=utf-8"
        policy = answer.headers["content-security-policy"]
        for tag in ("script", "style"):
            (part,) = re.findall(f"<{tag}>(.*?)</{tag}>", answer.text, re.DOTALL)
            digest = base64.b64encode(hashlib.sha256(part.encode()).digest()).decode()
            assert f"{tag}-src 'sha256-{digest}'" in policy
        assert "default-src 'none'" in policy
        assert not re.search(r"https?://|\son\w+=|style=|innerHTML|eval", answer.text)


def test_a_model_without_an_example_has_a_document():
    with RunningReplica({"plain": Identity()}) as replica:
        found = read(replica)
    OpenAPIV31SpecValidator(found).validate()
    assert "example" not in json.dumps(found["paths"])


def test_the_most_texts_of_the_schema_are_those_of_the_protocol():
    schemas = fixed()
    assert schemas["EmbeddingsRequest"]["properties"]["input"]["anyOf"][1]["maxItems"] == MOST_TEXTS
    assert schemas["RerankRequest"]["properties"]["documents"]["maxItems"] == MOST_TEXTS
