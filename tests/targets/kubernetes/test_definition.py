"""The CustomResourceDefinition of Endpoint: its size, and what the real API server makes of it."""

import json
import subprocess

import pytest

from argosy.spec.endpoint import Endpoint
from argosy.spec.errors import InvalidArgument
from argosy.targets.kubernetes.definition import API, NAME, declaration, definition
from argosy.targets.kubernetes.export import render
from tests.kubernetes import programs
from tests.kubernetes.plane import until

APPLY = {"content-type": "application/apply-patch+yaml"}
DEFINITIONS = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"
HOOK = {"kind": "webhook", "url": "https://example.com/hook"}
DROP = {"when": "realised_drop", "name": "drop", "metric": "accuracy", "run": HOOK}
FULL = {
    "name": "digits",
    "model": "digits@champion",
    "follow": True,
    "scaling": {"min": 0, "max": 3, "late": 0.01},
    "waiting": {"size": 10},
    "resources": {"cpu": 0.5, "memory": 2**31},
    "runtime": {"threads": 1, "env": {"A": "b"}, "sandbox": "required"},
    "rollout": {
        "strategy": "canary",
        "steps": [{"weight": 5, "requests": 200}],
        "shadow": {"share": 1},
        "sticky": {"by": "header", "name": "x-user"},
    },
    "guard": {"latency_quantiles": [0.5], "thresholds": [{"metric": "latency", "above": 1}]},
    "payload": {"redact": ["a"], "hash": ["b"]},
    "monitor": {"reference": "/data/rows.parquet", "threshold": 0.5},
    "triggers": [DROP, DROP | {"name": "other", "when": "estimated_drop", "run": {"kind": "command", "argv": ["/a"]}}],
    "slos": [{"name": "a", "objective": 0.99}],
    "limits": {"requests": 10},
}
BAD = {
    "both": ({"replicas": 1, "scaling": {}}, "declare replicas or scaling, not both"),
    "bounds": ({"scaling": {"min": 11}}, "min must be at most max"),
    "history": ({"scaling": {"history": 60}}, "history must be at least as long as window"),
    "follow": ({"follow": True}, "follow needs an alias"),
    "steps": ({"rollout": {"steps": [{"weight": 5}]}}, "steps belong to the strategy canary"),
    "weight": ({"rollout": {"strategy": "canary", "steps": [{"weight": 100}]}}, "less than or equal to 99"),
    "sticky": ({"rollout": {"sticky": {"by": "key", "name": "a"}}}, "name the header or cookie"),
    "hidden": ({"payload": {"redact": ["a"], "hash": ["a"]}}, "redact or hash, not both"),
    "triggers": ({"triggers": [DROP]}, "declare payload and monitor, too"),
    "target": ({"target": "moon"}, 'Unsupported value: "moon"'),
    "name": ({"name": "other"}, "spec.name must be the name of the object"),
    "key": ({"replica": 1}, 'unknown field "spec.replica"'),
    "share": ({"payload": {"sample": 2}}, "less than or equal to 1"),
}
"""Fields beside `model`, and what the API server says of them."""


def endpoint(called="digits", /, **spec):
    return {"apiVersion": API, "kind": "Endpoint", "metadata": {"name": called}, "spec": {"model": "digits:1", **spec}}


def install(plane):
    """Have a control plane know Endpoint."""
    client = plane.client()
    content = render([definition()]).encode()
    strict = {"fieldManager": "tests", "fieldValidation": "Strict", "force": "true"}
    answer = client.patch(f"{DEFINITIONS}/{NAME}", params=strict, content=content, headers=APPLY)
    assert answer.is_success, answer.text

    def established():
        conditions = client.get(f"{DEFINITIONS}/{NAME}").json().get("status", {}).get("conditions") or []
        told = {each["type"]: each for each in conditions}
        assert told.get("NonStructuralSchema", {}).get("status") != "True", told
        return told.get("Established", {}).get("status") == "True"

    until(established, "Endpoint")
    until(lambda: client.get(f"/apis/{API}/endpoints").status_code == 200, "its list")


def test_definition_is_small_and_has_every_field_of_a_declaration():
    text = render([definition()])
    assert len(text) <= 45_000
    assert text == render([definition()])
    spec = definition()["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]["spec"]["properties"]
    assert spec.keys() == {*Endpoint.__struct_fields__} - {"keys"} | {"scaling"}
    assert "alias" in spec["follow"]["description"]


def test_object_is_the_declaration_of_its_name():
    found = declaration(endpoint(**FULL))
    assert (found.name, found.replicas.max, found.triggers[1].run.argv) == ("digits", 3, ("/a",))
    assert declaration(endpoint("x", replicas=2)).replicas == 2


@pytest.mark.parametrize("case", [case for case in BAD if case not in ("name", "both")])
def test_what_the_api_server_would_refuse_is_refused_without_it(case):
    with pytest.raises(InvalidArgument):
        declaration(endpoint(**BAD[case][0]))


@pytest.fixture
def objects(kubernetes):
    install(kubernetes)
    return f"/apis/{API}/namespaces/{kubernetes.namespace()}/endpoints"


@pytest.mark.slow
def test_api_server_accepts_good_declarations_and_refuses_bad_ones_in_words(kubernetes, objects):
    client = kubernetes.client()
    strict = {"fieldValidation": "Strict"}
    for name, spec in (("digits", FULL), ("plain", {}), ("two", {"replicas": 2}), ("a.b", {})):
        answer = client.post(objects, params=strict, json=endpoint(name, **spec))
        assert answer.status_code == 201, answer.text
        assert declaration(answer.json()) == declaration(endpoint(name, **spec)), "nothing is lost or added"
    for name, (spec, message) in BAD.items():
        answer = client.post(objects, params=strict, json=endpoint(f"bad-{name}", **spec))
        assert answer.status_code in (400, 422), answer.text
        assert message in answer.json()["message"]
    answer = client.post(objects, params=strict, json=endpoint("a" * 64))
    assert "at most 63 characters" in answer.json()["message"]


@pytest.mark.slow
def test_kubectl_explains_scales_and_lists_endpoints(kubernetes, objects):
    namespace = objects.split("/")[-2]
    kubernetes.client().post(objects, json=endpoint(replicas=1)).raise_for_status()

    def run(*arguments):
        command = [programs.folder() / "kubectl", f"--kubeconfig={kubernetes.kubeconfig()}", "-n", namespace]
        return subprocess.run([*command, *arguments], check=False, capture_output=True, text=True, timeout=60)

    def kubectl(*arguments):
        done = run(*arguments)
        assert done.returncode == 0, done.stderr
        return done.stdout

    # A kind that is new can be listed a moment before the API server names it to clients.
    said = until(lambda: run("explain", "aep.spec.rollout.strategy").stdout, "an explanation")
    assert "ENUM" in said
    assert "an alias is resolved again whenever it moves" in " ".join(kubectl("explain", "aep.spec").split())
    assert kubectl("get", "endpoints.argosy.dev").split()[:6] == [
        "NAME",
        "READY",
        "REVISION",
        "TRAFFIC",
        "URL",
        "AGE",
    ]
    kubectl("scale", "--replicas=3", "endpoints.argosy.dev/digits")
    assert json.loads(kubectl("get", "endpoints.argosy.dev", "digits", "-o", "json"))["spec"]["replicas"] == 3
    kubectl("get", "endpoint", "digits")
