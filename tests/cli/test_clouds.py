"""`argosy export` for clouds: what it writes is what each place reads, and the same each time."""

import json
import re
import shutil
import subprocess

import pytest
import yaml

from argosy.cli.clouds import PLACES
from argosy.packaging.build import build
from argosy.packaging.options import PushOptions
from tests.cli.models import linear

ROLE = "arn:aws:iam::123456789012:role/argosy"
IMAGE = "registry.example/team/lin:1"
REQUIRED = {"sagemaker": ("--role", ROLE), "vertex": ("--project", "p-1"), "cloudrun": ("--project", "p-1")}


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    folder = tmp_path_factory.mktemp("model")
    build(linear(folder / "lin.onnx"), "lin", folder / "lin", PushOptions(), lambda step: None)
    return folder / "lin"


@pytest.fixture
def export(run, model, tmp_path):
    def call(place, *more, output="out"):
        options = (*REQUIRED.get(place, ()), "--image", IMAGE, "-o", tmp_path / output, *more)
        done = run("export", place, model, *options, "--json")
        assert done.exit_code == 0, done.stderr
        return {path.rpartition("/")[2]: path for path in json.loads(done.stdout)}

    return call


def text(path):
    with open(path) as file:
        return file.read()


@pytest.mark.parametrize("place", PLACES)
def test_files_are_the_same_each_time_and_commands_are_a_script(export, place):
    first, second = export(place), export(place, output="again")
    assert [text(path) for path in first.values()] == [text(path) for path in second.values()]
    assert list(first) == sorted(first)
    assert json.loads(text(first["request.json"]))["instances"]
    for name, path in first.items():
        assert "<<" not in text(path) or name == "request.json", "a variable is left"
        assert "<%" not in text(path)
        if name.endswith(".json"):
            json.loads(text(path))
        elif name.endswith(("yaml", "yml")):
            assert yaml.safe_load(text(path))
    script = first["commands.sh"]
    assert subprocess.run(["sh", "-n", script], capture_output=True, check=False).returncode == 0
    named = set(re.findall(r"[\w-]+\.(?:json|ya?ml)\b", text(script))) - {"tensors.json"}
    assert named <= set(first), "it names files that there are"
    assert IMAGE in "".join(text(path) for path in first.values())


def test_sagemakers_own_model_of_its_api_takes_the_requests(export):
    pytest.importorskip("botocore", reason="it has the model of the API: pip install botocore")
    from botocore import loaders, model, validate

    service = model.ServiceModel(loaders.Loader().load_service_model("sagemaker", "service-2"))

    def check(operation, request):
        shape = service.operation_model(operation).input_shape
        report = validate.ParamValidator().validate(request, shape)
        assert not report.has_errors(), report.generate_report()
        assert set(request) <= set(shape.members)
        for name, value in request.items():
            pattern = shape.members[name].metadata.get("pattern")
            assert not (pattern and isinstance(value, str)) or re.fullmatch(pattern, value), (name, value)

    found = export("sagemaker", "--bucket", "s3://b/p")
    for operation, name in (
        ("CreateModel", "model.json"),
        ("CreateEndpointConfig", "endpoint-config.json"),
        ("CreateTransformJob", "transform-job.json"),
    ):
        check(operation, json.loads(text(found[name])))
    with pytest.raises(AssertionError, match="Invalid type"):
        check("CreateModel", {"ModelName": 1})
    assert "transform-job.json" not in export("sagemaker", output="plain")
    assert "transform" not in text(export("sagemaker", output="plain")["commands.sh"])
    names = json.loads(text(found["model.json"]))["ModelName"], json.loads(text(found["endpoint-config.json"]))
    assert names[0] == names[1]["EndpointConfigName"] == names[1]["ProductionVariants"][0]["ModelName"]


def test_kserve_runtime_and_service(export):
    found = export("kserve", "--namespace", "team", "--storage", "s3://b/lin")
    runtime, service = (
        yaml.safe_load(text(found[f"{name}.yaml"])) for name in ("serving-runtime", "inference-service")
    )
    assert (runtime["kind"], runtime["apiVersion"]) == ("ServingRuntime", "serving.kserve.io/v1alpha1")
    (container,) = runtime["spec"]["containers"]
    assert container["name"] == "kserve-container"
    assert container["args"] == ["serve", "/mnt/models", "--contract", "kserve", "--name", "{{.Name}}"]
    assert runtime["spec"]["protocolVersions"] == ["v2", "grpc-v2"]
    (format,) = runtime["spec"]["supportedModelFormats"]
    assert {"name", "version", "autoSelect", "priority"} == set(format)
    assert container["ports"][0]["containerPort"] == 8080
    context = container["securityContext"]
    assert context["runAsNonRoot"]
    assert context["capabilities"] == {"drop": ["ALL"]}
    model = service["spec"]["predictor"]["model"]
    assert (service["kind"], model["runtime"]) == ("InferenceService", runtime["metadata"]["name"])
    assert model["modelFormat"]["name"] == format["name"]
    assert model["storageUri"] == "s3://b/lin"
    assert {service["metadata"]["namespace"], runtime["metadata"]["namespace"]} == {"team"}
    without = yaml.safe_load(text(export("kserve", output="plain")["inference-service.yaml"]))
    assert "storageUri" not in without["spec"]["predictor"]["model"]
    inside = yaml.safe_load(text(export("kserve", output="plain")["serving-runtime.yaml"]))["spec"]["containers"][0]
    assert inside["args"] == ["serve", "--contract", "kserve", "--name", "{{.Name}}"]


def test_routes_and_ports_are_those_of_the_contracts(export):
    from argosy.serving.contracts import CONTRACTS

    azure = yaml.safe_load(text(export("azureml")["deployment.yml"]))
    routes = azure["environment"]["inference_config"]
    contract = CONTRACTS["azureml"]
    assert {route["port"] for route in routes.values()} == {contract.port}
    paths = {f"GET {routes[name]['path']}" for name in ("liveness_route", "readiness_route")}
    assert paths | {f"POST {routes['scoring_route']['path']}"} == set(contract.paths)
    assert azure["environment_variables"].keys() <= set(contract.signs)
    model = json.loads(text(export("sagemaker")["model.json"]))
    assert model["PrimaryContainer"]["Environment"].keys() <= set(CONTRACTS["sagemaker"].signs)
    vertex = json.loads(text(export("vertex")["model.json"]))["model"]["containerSpec"]
    assert vertex["ports"] == [{"containerPort": CONTRACTS["vertex"].port}]
    known = {"imageUri", "command", "args", "env", "ports", "predictRoute", "healthRoute", "invokeRoutePrefix"}
    assert set(vertex) <= known | {"grpcPorts", "deploymentTimeout", "sharedMemorySizeMb", "startupProbe"}
    run = yaml.safe_load(text(export("cloudrun")["service.yaml"]))
    (container,) = run["spec"]["template"]["spec"]["containers"]
    assert container["ports"] == [{"name": "http1", "containerPort": CONTRACTS["cloudrun"].port}]


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (("--image", "x; rm -rf ~"), "--image 'x; rm -rf ~' must be letters"),
        (("--image", "x", "--namespace", "$(id)"), "--namespace"),
        (("--image", "x", "--name", "7"), "must begin with a letter"),
        (("--namespace", "x"), "missing option '--image'"),
    ],
)
def test_what_no_command_line_should_hold_is_refused(run, model, tmp_path, more, message):
    done = run("export", "kserve", model, "-o", tmp_path / "out", *more)
    assert done.exit_code == 2
    assert message in done.stderr
    assert not (tmp_path / "out").exists()


def test_the_script_of_kserve_runs_what_it_names(export, tmp_path, monkeypatch):
    """With programs of these names that note how they are called."""
    found = export("kserve")
    programs = tmp_path / "bin"
    programs.mkdir()
    for name in ("kubectl", "curl"):
        (programs / name).write_text(f'#!/bin/sh\necho "{name} $@" >> {tmp_path}/calls\n')
        (programs / name).chmod(0o755)
    for name in ("sh", "dirname"):
        (programs / name).symlink_to(shutil.which(name))
    subprocess.run(["sh", found["commands.sh"]], env={"PATH": str(programs)}, check=True, cwd="/")
    calls = (tmp_path / "calls").read_text().splitlines()
    assert calls[0] == "kubectl apply -f serving-runtime.yaml -f inference-service.yaml"
    assert any("wait" in call and call.endswith("inferenceservice/lin") for call in calls)
    assert calls[-1].startswith("curl")
