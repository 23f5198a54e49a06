"""Schemathesis against the replica's own OpenAPI document: documented statuses only, `{"error"}` on each failure."""

import httpx
import pytest
import schemathesis
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from schemathesis.specs.openapi import checks

from argosy.serving.openapi import document
from tests.serving.conftest import RunningReplica
from tests.serving.engines import Identity

MODELS = ("identity_fp32", "identity_bytes", "plain")
SCHEMA = schemathesis.openapi.from_dict(document())
OPERATIONS = {operation.ok().label: operation.ok() for operation in SCHEMA.get_all_operations()}
CHECKS = [
    checks.status_code_conformance,
    checks.content_type_conformance,
    checks.response_headers_conformance,
    checks.response_schema_conformance,
    checks.negative_data_rejection,
]
VALID, INVALID = schemathesis.GenerationMode.POSITIVE, schemathesis.GenerationMode.NEGATIVE
CASES = [(label, VALID) for label in OPERATIONS]
CASES += [(label, INVALID) for label in OPERATIONS if label.endswith("/infer")]
NAMES = st.sampled_from(["", *MODELS, "1", "no-such"])
"""Real names, so that requests get past the 404; an empty one leaves what schemathesis made."""


@pytest.fixture(scope="module")
def replica():
    engines = {name: Identity("BYTES" if name.endswith("bytes") else "FP32") for name in MODELS}
    with RunningReplica(engines, grpc=False) as running:
        yield running


def aimed(case, mode, model, version):
    for name, value in (("model", model), ("version", version)):
        if value and name in (case.path_parameters or {}):
            case.path_parameters[name] = value
    if mode is VALID and case.operation.path.endswith("/infer") and isinstance(case.body, dict) and model:
        first = case.body["inputs"][0]
        first["name"], first["datatype"] = "x", "BYTES" if model.endswith("bytes") else "FP32"
    return case


@pytest.mark.parametrize(("label", "mode"), CASES)
def test_the_document_is_kept(replica, label, mode):
    operation = OPERATIONS[label]

    @settings(max_examples=15 if operation.body else 5, deadline=None, suppress_health_check=list(HealthCheck))
    @given(case=operation.as_strategy(generation_mode=mode), model=NAMES, version=st.sampled_from(["", "1"]))
    def judge(case, model, version):
        answer = aimed(case, mode, model, version).call(base_url=replica.url, timeout=60)
        assert answer.status_code < 500 or "not permitted" in answer.text, answer.text
        if answer.status_code != 200:
            assert answer.headers["content-type"][0] == "application/json"
            assert answer.json()["error"]
        case.validate_response(answer, checks=CHECKS)

    judge()


def test_the_served_document_is_the_one_tested(replica):
    assert httpx.get(f"{replica.url}/openapi.json").json() == document()
