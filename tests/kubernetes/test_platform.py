"""What `argosy export platform` prints, on a real control plane: kubectl applies it under the restricted standard, the
controller publishes how it is reached with the rights of its role, and gateways follow it."""

import base64
import itertools
import json
import os
import shutil
import ssl
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
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

IMAGE = "registry.example/argosy:1"
PARTS = "argosy.dev/part"
NUMBERS = itertools.count()


class Installed:
    """A namespace into which kubectl has applied a platform."""

    def __init__(self, plane: Plane, *more: str) -> None:
        self.plane, self.client = plane, plane.client()
        self.namespace = f"platform-{next(NUMBERS)}"
        words = ["export", "platform", "--image", IMAGE, "--blobs", "registry.example/models", *more]
        done = CliRunner().invoke(argosy, [*words, "--namespace", self.namespace])
        assert done.exit_code == 0, done.output
        self.text = done.stdout

    def kubectl(self, *words: str, text: str = "") -> str:
        found = {"KUBECONFIG": str(self.plane.kubeconfig()), "PATH": f"{programs.folder()}:{os.environ['PATH']}"}
        command = ["kubectl", *words]
        done = subprocess.run(
            command, env=os.environ | found, input=text, capture_output=True, text=True, timeout=120, check=False
        )
        assert done.returncode == 0, done.stderr
        assert "would violate PodSecurity" not in done.stderr
        return done.stdout

    def objects(self, kind: str, version: str = "api/v1") -> list[dict]:
        found = self.client.get(f"/{version}/namespaces/{self.namespace}/{kind}")
        return found.raise_for_status().json()["items"]

    def pods(self, part: str) -> list[dict]:
        """Those that are ready."""
        return [
            pod
            for pod in self.objects("pods")
            if pod["metadata"]["labels"].get(PARTS) == part
            and "deletionTimestamp" not in pod["metadata"]
            and any(
                each["type"] == "Ready" and each["status"] == "True" for each in pod["status"].get("conditions", [])
            )
        ]

    def ask(self, controller: dict, method: str, path: str, body: object = None) -> httpx.Response:
        """The answer of the control API to the token of the Secret for users."""
        (data,) = [each["data"] for each in self.objects("secrets") if each["metadata"]["name"] == "argosy-control"]
        headers = {"authorization": f"Bearer {base64.b64decode(data['token']).decode()}"}
        context = ssl.create_default_context(cadata=base64.b64decode(data["ca.crt"]).decode())
        context.check_hostname = False  # the name of the Service is not known here
        url = f"https://{controller['status']['podIP']}:7070{path}"
        return httpx.request(method, url, json=body, headers=headers, verify=context, trust_env=False, timeout=90)

    def following(self, controller: dict) -> set[str]:
        """The gateways that route as this controller says; none while the Secret is that of another one."""
        try:
            answer = self.ask(controller, "GET", "/v1/gateways")
        except httpx.ConnectError:
            return set()
        return {each["name"] for each in answer.json() if each["confirmed"]} if answer.status_code == 200 else set()


@pytest.fixture(scope="module")
def node(kubernetes: Plane) -> Iterator[Path]:
    """One whose pods are processes takes all pods; where their homes are."""
    homes = Path(tempfile.mkdtemp(prefix="h"))
    image = {"entrypoint": [sys.executable, str(Path(__file__).with_name("short_home.py")), str(homes)]}
    with kubernetes.node("platform", {IMAGE: image}):
        (homes / "image.json").write_text(json.dumps(image))
        for each in kubernetes.client().get("/api/v1/nodes").json()["items"]:
            if (name := each["metadata"]["name"]) != "platform":
                cordon(kubernetes, name, True)
        yield homes
        for each in kubernetes.client().get("/api/v1/nodes").json()["items"]:
            cordon(kubernetes, each["metadata"]["name"], False)
    shutil.rmtree(homes)


def cordon(plane: Plane, node: str, unschedulable: bool) -> None:
    headers = {"content-type": "application/merge-patch+json"}
    body = {"spec": {"unschedulable": unschedulable}}
    plane.client().patch(f"/api/v1/nodes/{node}", json=body, headers=headers)


def live(pod: dict) -> bool:
    url = f"http://{pod['status']['podIP']}:8080/v2/health/live"
    return httpx.get(url, trust_env=False, timeout=30).status_code == 200


def models(plane: Plane, homes: Path, controller: dict, folder: Path) -> None:
    """Push two versions into the home of a controller, and have the node find their images."""
    (home,) = (each for each in homes.iterdir() if controller["metadata"]["name"] in str(each.resolve()))
    images = {IMAGE: json.loads((homes / "image.json").read_text())}
    store = open_store(Home(home), Settings())
    for number in (1, 2):
        model = linear(folder / f"lin{number}.onnx", weight=float(number))
        done = CliRunner(env={"ARGOSY_HOME": str(home)}).invoke(argosy, ["push", str(model), "--name", "lin"])
        assert done.exit_code == 0, done.output
        package = shutil.copytree(store.unpacked(store.registry.resolve(f"lin:{number}").digest), folder / str(number))
        image = {"entrypoint": [sys.executable, "-m", "argosy"], "env": {"ARGOSY_HOME": "/var/lib/argosy"}}
        images[f"registry.example/lin:{number}"] = image | {"paths": {"/models": str(package)}}
    store.close()
    plane.publish("platform", images)


class Asking:
    """Asks an endpoint at a gateway, again and again, until the block ends."""

    def __init__(self, url: str) -> None:
        self.url, self.answers, self.bad = url, list[float](), list[str]()
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run)

    def _run(self) -> None:
        body = {"inputs": [{"name": "x", "datatype": "FP32", "shape": [1, 3], "data": [1, 2, 3]}]}
        with httpx.Client(trust_env=False, timeout=30) as client:
            while not self._stop.is_set():
                try:
                    answer = client.post(self.url, json=body, headers={"connection": "close"})
                    good = answer.status_code == 200
                    (self.answers if good else self.bad).append(
                        answer.json()["outputs"][0]["data"][0] if good else answer.text
                    )
                except httpx.HTTPError as error:
                    self.bad.append(repr(error))
                time.sleep(0.01)

    def __enter__(self) -> "Asking":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()

    def more(self, count: int = 30) -> None:
        """Wait for so many more answers."""
        wanted = len(self.answers) + count
        until(lambda: len(self.answers) >= wanted or self.bad, "answers")


def test_everything_is_taken_by_the_api_server(kubernetes: Plane):
    for more in ((), ("--postgres", "try"), ("--database-secret", "db", "--pull-secret", "logins")):
        found = Installed(kubernetes, *more)
        found.client.post("/api/v1/namespaces", json={"metadata": {"name": found.namespace}})
        said = found.kubectl("apply", "--server-side", "--dry-run=server", "-f", "-", text=found.text)
        assert "deployment.apps/argosy-gateway" in said


def test_a_platform_comes_up_gateways_follow_and_outlive_the_controller(kubernetes: Plane, node: Path):
    kubernetes.need_services()
    found = Installed(kubernetes, "--ephemeral")
    found.kubectl("apply", "--server-side", "-f", "-", text=found.text)
    (controller,) = until(lambda: found.pods("argosy"), "the controller")
    until(lambda: len(found.objects("secrets")) == 2, "Secrets")
    secrets = {each["metadata"]["name"]: each for each in found.objects("secrets")}
    assert secrets.keys() == {"argosy-control", "argosy-gateway"}
    assert b"BEGIN CERTIFICATE" in base64.b64decode(secrets["argosy-gateway"]["data"]["ca.crt"])

    def both() -> list[dict]:
        ready = found.pods("argosy-gateway")
        return ready if len(ready) == 2 else []

    gateways = until(both, "both gateways")
    assert all(map(live, gateways))
    found.kubectl("delete", "pod", "-n", found.namespace, controller["metadata"]["name"])
    assert all(map(live, gateways))
    (other,) = until(lambda: found.pods("argosy"), "another controller")
    assert all(map(live, gateways))
    until(lambda: found.following(other) == {each["metadata"]["name"] for each in gateways}, "gateways that follow it")
    found.kubectl("delete", "namespace", found.namespace, "--wait=false")


def test_an_endpoint_in_the_cluster_is_rolled_out_under_load_by_way_of_its_gateways(
    kubernetes: Plane, node: Path, tmp_path: Path
):
    kubernetes.need_services()
    found = Installed(kubernetes, "--ephemeral", "--replicas", "registry.example/{model}:{version}")
    found.kubectl("apply", "--server-side", "-f", "-", text=found.text)
    (controller,) = until(lambda: found.pods("argosy"), "the controller")
    models(kubernetes, node, controller, tmp_path)

    def both() -> list[dict]:
        ready = found.pods("argosy-gateway")
        return ready if len(ready) == 2 else []

    gateways = until(both, "both gateways")

    def declare(version: int) -> None:
        declared = {"model": f"lin:{version}", "replicas": 2, "public": True, "runtime": {"drain_timeout": 2}}
        answer = found.ask(controller, "PUT", "/v1/endpoints/first?wait=60", declared)
        assert answer.status_code < 300, answer.text
        assert answer.json()["endpoint"]["state"] == "ready", answer.text

    declare(1)
    (service,) = [each for each in found.objects("services") if each["metadata"]["name"] == "argosy-gateway"]
    with Asking(f"http://{service['spec']['clusterIP']}/v2/models/first/infer") as asking:
        asking.more()
        for version in (2, 1):
            declare(version)
            asking.more()
        found.kubectl("delete", "pod", "-n", found.namespace, gateways[0]["metadata"]["name"], "--wait=false")
        asking.more(100)
        until(both, "another gateway")
        declare(2)
        asking.more()
    assert asking.bad == []
    assert set(asking.answers) == {6.0, 12.0}
    found.kubectl("delete", "namespace", found.namespace, "--wait=false")
