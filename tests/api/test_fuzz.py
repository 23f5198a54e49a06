"""Whatever the description of the control API allows, and what it does not: it answers by its own rules."""

import json
from collections.abc import Iterator

import pytest
import schemathesis
from hypothesis import HealthCheck, given, settings
from schemathesis import GenerationMode
from schemathesis.checks import not_a_server_error
from schemathesis.schemas import APIOperation
from schemathesis.specs.openapi.checks import content_type_conformance, response_schema_conformance

from argosy.api import openapi
from argosy.api.application import ROUTES
from tests.platform.up import Up, stand_ins


@pytest.fixture(scope="module")
def platform(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Up]:
    with stand_ins(tmp_path_factory.mktemp("h")) as up:
        yield up


SCHEMA = schemathesis.openapi.from_dict(openapi.document(ROUTES, "0"))
OPERATIONS = [each.ok() for each in SCHEMA.get_all_operations() if each.ok().path != "/v1/shutdown"]
MODES = [GenerationMode.POSITIVE, GenerationMode.NEGATIVE]
CHECKS = [not_a_server_error, response_schema_conformance, content_type_conformance]


@pytest.mark.slow
@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("operation", OPERATIONS, ids=lambda each: f"{each.method} {each.path}")
def test_it_never_breaks(operation: APIOperation, mode: GenerationMode, platform: Up):
    url = json.loads((platform.home.run / "control.json").read_text())["url"]
    header = {"Authorization": f"Bearer {(platform.home.run / 'token').read_text()}"}

    @given(case=operation.as_strategy(generation_mode=mode))
    @settings(max_examples=5, deadline=None, suppress_health_check=list(HealthCheck), database=None)
    def check(case: schemathesis.Case) -> None:
        case.query.pop("follow", None)
        case.query.pop("wait", None)
        answer = case.call(base_url=url, headers=header, timeout=60)
        case.validate_response(answer, checks=CHECKS)

    check()
    assert platform.call("GET", "/v1/status")["pid"] == platform.process.pid
