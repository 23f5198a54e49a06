"""`argosy export kubernetes`: files for kubectl, and what they do not say."""

import json
import subprocess

import pytest
import yaml

from tests.cli.models import linear

IMAGE = "registry.example/team/{model}:{version}"


@pytest.fixture
def export(run, tmp_path):
    done = run("push", linear(tmp_path / "lin.onnx"), "--name", "lin")
    assert done.exit_code == 0, done.stderr

    def call(declaration, *more, output="k8s"):
        file = tmp_path / "endpoint.yaml"
        file.write_text(declaration)
        return run("export", "kubernetes", file, "--image", IMAGE, "-o", tmp_path / output, *more)

    return call


def objects(folder, name):
    return {each["kind"]: each for each in yaml.safe_load_all((folder / f"{name}.yaml").read_text())}


def test_files_for_kubectl(export, tmp_path):
    said = export("{name: first, model: lin}\n---\n{name: second.one, model: 'lin:1', public: true}\n", "--json")
    assert said.exit_code == 0, said.stderr
    found = json.loads(said.stdout)
    names = [path.rpartition("/")[2] for path in found["files"]]
    kustomization = yaml.safe_load((tmp_path / "k8s/kustomization.yaml").read_text())
    assert sorted([*kustomization["resources"], "kustomization.yaml", "commands.sh"]) == sorted(names)
    assert "namespace" not in kustomization
    pod = objects(tmp_path / "k8s", "first")["Deployment"]["spec"]["template"]["spec"]
    assert pod["containers"][0]["image"] == "registry.example/team/lin:1"
    script = (tmp_path / "k8s/commands.sh").read_text()
    assert subprocess.run(["sh", "-n"], input=script, text=True, check=False).returncode == 0
    assert script.count("kubectl rollout status deployment/") == 2
    assert any(line.startswith("keys: ") for line in found["unsaid"]["first"])
    assert not any(line.startswith("keys: ") for line in found["unsaid"]["second.one"])


def test_the_same_declarations_give_the_same_files(export, tmp_path):
    declaration = "{name: first, model: lin, replicas: 3, payload: {}}\n"
    first, second = export(declaration), export(declaration, output="again")
    assert first.exit_code == second.exit_code == 0
    for file in (tmp_path / "k8s").iterdir():
        assert file.read_bytes() == (tmp_path / "again" / file.name).read_bytes()
    assert "  payload: requests and answers are not recorded" in first.stderr
    assert "what these files do not do of 'first':" in first.stderr


def test_routes_and_a_namespace(export, tmp_path):
    said = export("{name: first, model: lin}\n", "--gateway-api", "infra/public", "--namespace", "models", "--grpc")
    assert said.exit_code == 0, said.stderr
    made = objects(tmp_path / "k8s", "first")
    assert made["HTTPRoute"]["spec"]["parentRefs"] == [{"name": "public", "namespace": "infra"}]
    assert {port["name"] for port in made["Service"]["spec"]["ports"]} == {"http", "grpc"}
    assert yaml.safe_load((tmp_path / "k8s/kustomization.yaml").read_text())["namespace"] == "models"
    assert "kubectl rollout status --namespace models deployment/first-" in (tmp_path / "k8s/commands.sh").read_text()


@pytest.mark.parametrize(
    ("declaration", "more", "said"),
    [
        ("{name: first, model: other}", (), "no model is named 'other'"),
        ("{name: first, model: lin, replica: 3}", (), "replica"),
        ("{name: first, model: lin, replicas: {max: 3}}", (), "declare resources.cpu, or a number of replicas"),
        ("{name: first, model: lin}", ("--namespace", "Models"), "--namespace 'Models' must be"),
        ("{name: first, model: lin}", ("--gateway-api", "a b"), "--gateway-api 'a b' must be"),
        ("{name: first, model: lin}", ("--image", "x/{name}:1"), "it may have {model} and {version}"),
    ],
)
def test_what_cannot_be_written(export, tmp_path, declaration, more, said):
    done = export(declaration, *more)
    assert done.exit_code != 0
    assert said in done.stderr
    assert not (tmp_path / "k8s").exists()


def test_definition_for_kubectl(run):
    said = run("export", "crd")
    assert said.exit_code == 0, said.stderr
    found = yaml.safe_load(said.stdout)
    assert found == json.loads(run("export", "crd", "--json").stdout)
    assert (found["kind"], found["spec"]["names"]["kind"]) == ("CustomResourceDefinition", "Endpoint")
