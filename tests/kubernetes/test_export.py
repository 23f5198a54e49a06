"""What `argosy export kubernetes` writes, on a real control plane: kubectl applies it, pods answer, a version follows
another one while requests go on."""

import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import pytest
from click.testing import CliRunner

from argosy.cli.main import argosy
from argosy.spec.settings import Home, Settings
from argosy.store import open_store
from tests.cli.models import linear
from tests.kubernetes import programs
from tests.kubernetes.plane import Plane, until

pytestmark = pytest.mark.slow

IMAGE = "registry.example/lin:{}"


class Cluster:
    """A namespace under the restricted standard, a node whose pods are processes, and the files of an export."""

    def __init__(self, plane: Plane, folder: Path) -> None:
        self.plane, self.folder, self.client = plane, folder, plane.client()
        self.namespace = plane.namespace()
        labels = {"pod-security.kubernetes.io/enforce": "restricted"}
        self._patch(f"/api/v1/namespaces/{self.namespace}", {"metadata": {"labels": labels}})
        self.pods = f"/api/v1/namespaces/{self.namespace}/pods"

    def _patch(self, path: str, body: dict) -> None:
        headers = {"content-type": "application/merge-patch+json"}
        self.client.patch(path, json=body, headers=headers).raise_for_status()

    def export(self, declaration: str, *more: str) -> Path:
        """Write the files. Returns their folder."""
        file, output = self.folder / "endpoint.yaml", self.folder / "k8s"
        file.write_text(declaration)
        words = ["export", "kubernetes", str(file), "--image", IMAGE.format("{version}"), "-o", str(output)]
        done = CliRunner().invoke(argosy, [*words, "--namespace", self.namespace, *more])
        assert done.exit_code == 0, done.output
        return output

    def run(self, *words: str | Path) -> None:
        """A command that finds kubectl, and this control plane."""
        found = {"KUBECONFIG": str(self.plane.kubeconfig()), "PATH": f"{programs.folder()}:{os.environ['PATH']}"}
        done = subprocess.run(words, env=os.environ | found, capture_output=True, text=True, timeout=120, check=False)
        assert done.returncode == 0, done.stderr

    def ready(self) -> list[dict]:
        """Pods that take requests."""
        found = self.client.get(self.pods).raise_for_status().json()["items"]
        return [
            pod
            for pod in found
            if "deletionTimestamp" not in pod["metadata"]
            and any(
                each["type"] == "Ready" and each["status"] == "True" for each in pod["status"].get("conditions", [])
            )
        ]

    def cordon(self, unschedulable: bool) -> None:
        """Nodes whose pods are acted take none of ours."""
        for node in self.client.get("/api/v1/nodes").json()["items"]:
            if node["metadata"]["name"].startswith("fake-"):
                self._patch(f"/api/v1/nodes/{node['metadata']['name']}", {"spec": {"unschedulable": unschedulable}})


@pytest.fixture(scope="module")
def home(kubernetes: Plane, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A home with three versions of a model, and a node that has their images. That of the third holds the first."""
    folder = tmp_path_factory.mktemp("export")
    images: dict[str, dict[str, object]] = {}
    for version in (1, 2, 3):
        model = linear(folder / f"lin{version}.onnx", weight=float(version))
        done = CliRunner(env={"ARGOSY_HOME": str(folder)}).invoke(argosy, ["push", str(model), "--name", "lin"])
        assert done.exit_code == 0, done.output
    store = open_store(Home(folder), Settings())
    for version, held in ((1, 1), (2, 2), (3, 1)):
        package = store.unpacked(store.registry.resolve(f"lin:{held}").digest)
        image = {"entrypoint": [sys.executable, "-m", "argosy"], "env": {"ARGOSY_HOME": "/var/lib/argosy"}}
        images[IMAGE.format(version)] = image | {"paths": {"/models": str(package)}}
    store.close()
    with kubernetes.node("exports", images):
        yield folder


@pytest.fixture
def cluster(kubernetes: Plane, home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Cluster]:
    monkeypatch.setenv("ARGOSY_HOME", str(home))
    found = Cluster(kubernetes, tmp_path)
    found.cordon(True)
    yield found
    found.client.delete(f"/api/v1/namespaces/{found.namespace}")
    found.cordon(False)


def answer(pod: dict) -> float:
    body = {"inputs": [{"name": "x", "datatype": "FP32", "shape": [1, 3], "data": [1, 2, 3]}]}
    url = f"http://{pod['status']['podIP']}:8080/v2/models/first/infer"
    return httpx.post(url, json=body, trust_env=False, timeout=30).raise_for_status().json()["outputs"][0]["data"][0]


def test_a_version_follows_another_one_and_no_request_fails(cluster: Cluster):
    declaration = "{{name: first, model: 'lin:{}', replicas: 2, runtime: {{drain_timeout: 2}}}}\n"
    cluster.run("sh", cluster.export(declaration.format(1)) / "commands.sh")
    assert [answer(pod) for pod in cluster.ready()] == [6.0, 6.0]
    answers: list[float] = []
    stop = threading.Event()

    def load() -> None:
        while not stop.is_set():
            answers.extend(answer(pod) for pod in cluster.ready())
            time.sleep(0.05)

    with ThreadPoolExecutor(1) as threads:
        loading = threads.submit(load)
        cluster.run("sh", cluster.export(declaration.format(2)) / "commands.sh")
        until(lambda: len(cluster.client.get(cluster.pods).json()["items"]) == 2, "the end of the former pods")
        stop.set()
        loading.result()
    assert {6.0, 12.0} == set(answers)
    assert [answer(pod) for pod in cluster.ready()] == [12.0, 12.0]
    path = f"/apis/apps/v1/namespaces/{cluster.namespace}/deployments"
    (left,) = cluster.client.get(path).json()["items"]
    assert left["metadata"]["annotations"]["argosy.dev/model"] == "lin:2"


def test_a_route_and_an_autoscaler_are_taken(cluster: Cluster):
    for kind in ("httproutes", "gateways"):
        content = (programs.folder() / "gateway-api" / f"gateway.networking.k8s.io_{kind}.yaml").read_bytes()
        path = f"/apis/apiextensions.k8s.io/v1/customresourcedefinitions/{kind}.gateway.networking.k8s.io"
        headers = {"content-type": "application/apply-patch+yaml"}
        cluster.client.patch(path, params={"fieldManager": "tests"}, content=content, headers=headers)
    routes = f"/apis/gateway.networking.k8s.io/v1/namespaces/{cluster.namespace}/httproutes"
    until(lambda: cluster.client.get(routes).status_code == 200, "HTTPRoute")
    declaration = "{name: first, model: 'lin:1', replicas: {max: 3}, resources: {cpu: 0.1}, timeout: 0.5}\n"
    cluster.run("kubectl", "apply", "--server-side", "-k", cluster.export(declaration, "--gateway-api", "infra/public"))
    (route,) = cluster.client.get(routes).json()["items"]
    assert route["spec"]["rules"][0]["timeouts"]["request"] == "500ms"
    path = f"/apis/autoscaling/v2/namespaces/{cluster.namespace}/horizontalpodautoscalers"
    (scaler,) = cluster.client.get(path).json()["items"]
    assert scaler["spec"]["maxReplicas"] == 3
    assert scaler["spec"]["scaleTargetRef"]["name"].startswith(f"{route['metadata']['name']}-")


def test_an_image_with_another_package_never_gets_ready(cluster: Cluster):
    cluster.run("kubectl", "apply", "--server-side", "-k", cluster.export("{name: first, model: 'lin:3'}\n"))

    def log() -> str:
        texts = [path.read_text() for path in cluster.plane.folder.glob("exports*/**/replica.log")]
        return next((text for text in texts if "error: " in text), "")

    assert "holds other bytes than it should" in until(log, "a reason")
    assert cluster.ready() == []
