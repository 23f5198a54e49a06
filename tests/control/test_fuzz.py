"""Whatever the description of the control API allows, and what it does not: it answers by its own rules."""

import json
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import schemathesis
from hypothesis import HealthCheck, given, settings
from schemathesis import GenerationMode
from schemathesis.checks import not_a_server_error
from schemathesis.schemas import APIOperation
from schemathesis.specs.openapi.checks import content_type_conformance, response_schema_conformance

from argosy.control import openapi, strays
from argosy.control.api import ROUTES
from argosy.spec.settings import Home, Settings
from argosy.store import open_store
from tests.control.conftest import Up
from tests.store.samples import FILES, model_lineage, model_manifest, write_folder

STAND_IN_UP = [sys.executable, str(Path(__file__).with_name("stand_in_up.py"))]


@pytest.fixture(scope="module")
def platform(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Up]:
    home = Home(tmp_path_factory.mktemp("h")).create()
    home.config.write_text("control: {port: 0}\ngateway: {port: 0}\n")
    store = open_store(home, Settings())
    folder = write_folder(home.root / "p", FILES | {"behaviour": b"ok"})
    store.add(folder, name="digits", manifest=model_manifest(), lineage=model_lineage())
    store.close()
    up = Up(home, STAND_IN_UP).ready()
    yield up
    up.stop()
    strays.end([*strays.gateways(home), *strays.replicas(home)[0]], drain=0.0)


SCHEMA = schemathesis.openapi.from_dict(openapi.document(ROUTES, "0"))
OPERATIONS = [each.ok() for each in SCHEMA.get_all_operations() if each.ok().path != "/v1/shutdown"]
MODES = [GenerationMode.POSITIVE, GenerationMode.NEGATIVE]
CHECKS = [not_a_server_error, response_schema_conformance, content_type_conformance]


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("operation", OPERATIONS, ids=lambda each: f"{each.method} {each.path}")
def test_it_never_breaks(operation: APIOperation, mode: GenerationMode, platform: Up):
    url = json.loads((platform.home.run / "control.json").read_text())["url"]
    header = {"Authorization": f"Bearer {(platform.home.run / 'token').read_text()}"}

    @given(case=operation.as_strategy(generation_mode=mode))
    @settings(max_examples=25, deadline=None, suppress_health_check=list(HealthCheck), database=None)
    def check(case: schemathesis.Case) -> None:
        case.query.pop("follow", None)
        case.query.pop("wait", None)
        answer = case.call(base_url=url, headers=header)
        case.validate_response(answer, checks=CHECKS)

    check()
    assert platform.call("GET", "/v1/status")["pid"] == platform.process.pid
