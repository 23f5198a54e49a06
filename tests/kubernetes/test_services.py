"""What pods that are processes have of the cluster around them: its API, its Services and their names."""

import sys

import httpx
import pytest

from tests.kubernetes.plane import until
from tests.kubernetes.test_kubelet import create, is_ready, server, status
from tests.kubernetes.test_kubelet import pod as any_pod

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def node(kubernetes):
    with kubernetes.node("serves", {"web:1": {"entrypoint": ["python3"]}}) as process:
        yield process


def pod(name, container, **spec):
    return any_pod(name, container, nodeSelector={"kubernetes.io/hostname": "serves"}, **spec)


def test_pod_reaches_the_api_server_as_its_account(kubernetes, client, pods, tmp_path):
    """As clients do it in a cluster: by variables, and by files whose place is known."""
    kubernetes.need_services()
    out = tmp_path / "out"
    code = f"""
import os, pathlib, httpx
secrets = pathlib.Path("/var/run", "secrets/kubernetes.io/serviceaccount")
own = secrets.joinpath("namespace").read_text()
headers = {{"authorization": "Bearer " + secrets.joinpath("token").read_text()}}
told = []
for host in (os.environ["KUBERNETES_SERVICE_HOST"], "kubernetes.default.svc"):
    with httpx.Client(verify=str(secrets / "ca.crt"), trust_env=False, headers=headers) as client:
        port = os.environ["KUBERNETES_SERVICE_PORT"]
        told.append(client.get(f"https://{{host}}:{{port}}/api/v1/namespaces/{{own}}/pods").json()["message"])
open({str(out)!r}, "w").write("\\n".join(told))
"""
    made = pod("asks", {"command": [sys.executable, "-c", code]}, restartPolicy="Never")
    client.post(pods, json=made | {"spec": made["spec"] | {"automountServiceAccountToken": True}}).raise_for_status()
    until(lambda: status(client, pods, "asks")["phase"] in ("Succeeded", "Failed"), "its end")
    namespace = pods.split("/")[-2]
    refused = f'User "system:serviceaccount:{namespace}:default" cannot list resource "pods"'
    assert out.read_text().count(refused) == 2


def test_service_leads_to_its_ready_pods_by_its_name(kubernetes, client, pods, tmp_path):
    kubernetes.need_services()
    for name in ("a", "b"):
        made = pod(name, server(tmp_path, name, name))
        made["metadata"]["labels"] = {"app": "web"}
        client.post(pods, json=made).raise_for_status()
    port = {"port": 80, "targetPort": 8080}
    service = create(client, pods, "service", "web", spec={"selector": {"app": "web"}, "ports": [port]})
    address = client.get(service).json()["spec"]["clusterIP"]

    def served():
        try:
            return httpx.get(f"http://{address}/", trust_env=False).text
        except httpx.TransportError:
            return ""

    for name in ("a", "b"):
        until(lambda: served() == name, f"an answer of {name}")  # noqa: B023 - called at once
    out = tmp_path / "out"
    namespace = pods.split("/")[-2]
    hosts = ["web", f"web.{namespace}", f"web.{namespace}.svc.cluster.local"]
    code = f"""
import urllib.request
found = [urllib.request.urlopen("http://" + each).read().decode() for each in {hosts}]
open({str(out)!r}, "w").write("".join(sorted(found)))
"""
    client.post(pods, json=pod("asks", {"args": ["-c", code]}, restartPolicy="Never")).raise_for_status()
    until(lambda: status(client, pods, "asks")["phase"] in ("Succeeded", "Failed"), "its end")
    assert set(out.read_text()) == {"a", "b"}
    client.delete(f"{pods}/a").raise_for_status()
    until(lambda: client.get(f"{pods}/a").status_code == 404, "the end of a pod")
    assert {until(served, "an answer") for _ in range(4)} == {"b"}
    client.delete(f"{pods}/b").raise_for_status()
    until(lambda: not served(), "a Service that leads nowhere")


def test_pods_outlive_an_api_server_that_is_away(kubernetes, client, pods, tmp_path):
    client.post(pods, json=pod("stays", server(tmp_path, "stays", "here"))).raise_for_status()
    until(lambda: is_ready(status(client, pods, "stays")), "a Ready pod")
    address = status(client, pods, "stays")["podIP"]
    with kubernetes.away():
        with pytest.raises(httpx.TransportError):
            client.get("/readyz")
        assert httpx.get(f"http://{address}:8080/", trust_env=False).text == "here"
    with kubernetes.paused():
        with pytest.raises(httpx.TimeoutException):
            client.get("/readyz", timeout=0.5)
        assert httpx.get(f"http://{address}:8080/", trust_env=False).text == "here"
    client.delete(f"{pods}/stays").raise_for_status()
    until(lambda: client.get(f"{pods}/stays").status_code == 404, "the end of the pod")
    assert (tmp_path / "ended-stays").exists()
