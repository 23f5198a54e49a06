"""What `argosy export platform` prints, on a real control plane: kubectl applies it under the restricted standard, the
controller publishes how it is reached with the rights of its role, and gateways follow it."""

import base64
import os
import shutil
import ssl
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from click.testing import CliRunner

from argosy.cli.main import argosy
from tests.kubernetes import programs
from tests.kubernetes.plane import Plane, until

pytestmark = pytest.mark.slow

IMAGE = "registry.example/argosy:1"
PARTS = "argosy.dev/part"


class Installed:
    """A namespace into which kubectl has applied a platform."""

    def __init__(self, plane: Plane, *more: str) -> None:
        self.plane, self.client, self.namespace = plane, plane.client(), "platforms"
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
            if pod["metadata"]["labels"][PARTS] == part
            and "deletionTimestamp" not in pod["metadata"]
            and any(
                each["type"] == "Ready" and each["status"] == "True" for each in pod["status"].get("conditions", [])
            )
        ]

    def following(self, controller: dict) -> set[str]:
        """The gateways that route as this controller says, which is asked with the token of the Secret for users."""
        (data,) = [each["data"] for each in self.objects("secrets") if each["metadata"]["name"] == "argosy-control"]
        headers = {"authorization": f"Bearer {base64.b64decode(data['token']).decode()}"}
        context = ssl.create_default_context(cadata=base64.b64decode(data["ca.crt"]).decode())
        context.check_hostname = False  # the name of the Service is not known here
        url = f"https://{controller['status']['podIP']}:7070/v1/gateways"
        answer = httpx.get(url, headers=headers, verify=context, trust_env=False, timeout=30)
        return {each["name"] for each in answer.json() if each["confirmed"]} if answer.status_code == 200 else set()


@pytest.fixture
def node(kubernetes: Plane) -> Iterator[None]:
    """One whose pods are processes takes all pods."""
    homes = Path(tempfile.mkdtemp(prefix="h"))
    image = {"entrypoint": [sys.executable, str(Path(__file__).with_name("short_home.py")), str(homes)]}
    with kubernetes.node("platform", {IMAGE: image}):
        for each in kubernetes.client().get("/api/v1/nodes").json()["items"]:
            if (name := each["metadata"]["name"]) != "platform":
                cordon(kubernetes, name, True)
        yield
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


def test_everything_is_taken_by_the_api_server(kubernetes: Plane):
    for more in ((), ("--postgres", "try"), ("--database-secret", "db", "--pull-secret", "logins")):
        found = Installed(kubernetes, *more)
        found.client.post("/api/v1/namespaces", json={"metadata": {"name": found.namespace}})
        said = found.kubectl("apply", "--server-side", "--dry-run=server", "-f", "-", text=found.text)
        assert "deployment.apps/argosy-gateway" in said


def test_a_platform_comes_up_gateways_follow_and_outlive_the_controller(kubernetes: Plane, node: None):
    kubernetes.need_services()
    found = Installed(kubernetes, "--ephemeral")
    found.kubectl("apply", "--server-side", "-f", "-", text=found.text)
    (controller,) = until(lambda: found.pods("argosy"), "the controller")
    secrets = until(lambda: {each["metadata"]["name"]: each for each in found.objects("secrets")}, "Secrets")
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
    found.kubectl("delete", "namespace", found.namespace)
