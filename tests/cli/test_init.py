"""`argosy init` writes what the platform takes, and the schema says so too."""

import json
import re

import pytest

from argosy.cli.init import declaration, descriptions, json_schema
from argosy.control.admission import check_honoured
from argosy.spec.endpoint import Endpoint
from argosy.spec.fleet import Deployment
from argosy.spec.settings import Settings
from argosy.spec.strict import load_yaml
from argosy.targets.base import Capacity
from tests.cli.models import linear


def test_the_declaration_is_taken_as_it_is_and_says_no_more_than_name_and_model():
    assert load_yaml(declaration("lin", "lin:1"), Endpoint, "it") == Endpoint(name="lin", model="lin:1")


def test_every_setting_that_is_commented_out_is_taken():
    text = re.sub(r"^#(?=[a-z]| {2})", "", declaration("lin", "lin:1"), flags=re.MULTILINE)
    endpoint = load_yaml(text, Endpoint, "it")
    check_honoured(endpoint, Settings(), Capacity(cores=2, memory=2**30))
    written = re.findall(r"^(\w+):", text, re.MULTILINE)
    assert written == [*Endpoint.__struct_fields__]
    assert endpoint.runtime == Endpoint(name="a", model="a:1").runtime


def test_init(run, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert "name the model" in run("init").stderr
    assert "there is no lin:1 yet" in run("init", "lin", "-o", "first.yaml").stdout
    run("push", linear(tmp_path / "one.onnx"), "--name", "lin", "--alias", "champion")
    run("push", linear(tmp_path / "two.onnx", weight=2.0), "--name", "lin")
    assert run("init").exit_code == 0
    assert "\nmodel: lin:2\n" in (tmp_path / "endpoint.yaml").read_text()
    assert run("init").exit_code == 5
    assert run("init", "lin@champion", "--name", "prod", "--force").exit_code == 0
    text = (tmp_path / "endpoint.yaml").read_text()
    assert "\nname: prod\n" in text
    assert "\nmodel: lin@champion\n" in text
    assert text.startswith("# yaml-language-server: $schema=endpoint.schema.json\n")
    assert json.loads((tmp_path / "endpoint.schema.json").read_text()) == json.loads(json.dumps(json_schema(Endpoint)))


@pytest.mark.parametrize("kind", ["endpoint", "config", "deployment"])
def test_every_field_of_a_schema_has_its_sentence_and_there_is_none_too_many(run, kind):
    found = json.loads(run("schema", kind).stdout)
    for name, part in found["$defs"].items():
        tagged = name in ("Webhook", "Slack", "Email", "Alertmanager", "Command") or name.endswith("Provider")
        tag = {"kind", "when"} if tagged else {"when"}
        lacking = {field for field, value in part["properties"].items() if "description" not in value}
        assert lacking <= tag, name
        assert {*descriptions().get(name, ())} <= {*part["properties"]}, name
        assert part["additionalProperties"] is False, name
    assert len(found["$defs"]) > 4


def test_no_sentence_is_of_a_class_that_nobody_declares():
    declared = {name for kind in (Endpoint, Settings, Deployment) for name in json_schema(kind)["$defs"]}
    assert {*descriptions()} == declared
