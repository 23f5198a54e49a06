"""The kubelet whose pods are processes: what a pod of it does from its start to its end, as the real API sees it."""

import signal

import httpx
import pytest

from tests.kubernetes.plane import until

pytestmark = pytest.mark.slow

SERVER = """
import http.server, pathlib, signal, socketserver, sys

class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200 if self.path != "/fails" else 500)
        self.end_headers()
        self.wfile.write(pathlib.Path(sys.argv[1]).read_bytes())

def end(*_):
    pathlib.Path(sys.argv[2]).touch()
    sys.exit(0)

signal.signal(signal.SIGTERM, end)
socketserver.ThreadingTCPServer.allow_reuse_address = True
socketserver.ThreadingTCPServer((sys.argv[3], 8080), Handler).serve_forever()
"""


@pytest.fixture(scope="module")
def node(kubernetes):
    with kubernetes.node("works", {"web:1": {"entrypoint": ["python3"]}}) as process:
        yield process


@pytest.fixture
def pods(kubernetes, node):
    return f"/api/v1/namespaces/{kubernetes.namespace()}/pods"


@pytest.fixture
def client(kubernetes):
    return kubernetes.client()


def pod(name, container, **spec):
    chosen = {"nodeSelector": {"kubernetes.io/hostname": "works"}, "automountServiceAccountToken": False}
    containers = [{"name": "main", "image": "web:1", **container}]
    return {"metadata": {"name": name}, "spec": {"containers": containers, **chosen, **spec}}


def status(client, pods, name):
    return client.get(f"{pods}/{name}").raise_for_status().json()["status"]


def is_ready(told):
    return any(each["type"] == "Ready" and each["status"] == "True" for each in told.get("conditions", []))


def test_pod_serves_and_its_eviction_waits_for_the_stop_hook(client, pods, tmp_path):
    files = {"text": "from a ConfigMap", "server.py": SERVER}
    maps = f"{pods.rpartition('/')[0]}/configmaps"
    client.post(maps, json={"metadata": {"name": "files"}, "data": files}).raise_for_status()
    ended = tmp_path / "ended"
    container = {
        "args": ["/etc/web/server.py", "/etc/web/text", str(ended), "$(ADDRESS)"],
        "env": [{"name": "ADDRESS", "valueFrom": {"fieldRef": {"fieldPath": "status.podIP"}}}],
        "ports": [{"name": "http", "containerPort": 8080}],
        "readinessProbe": {"httpGet": {"path": "/", "port": "http"}, "periodSeconds": 1},
        "volumeMounts": [{"name": "files", "mountPath": "/etc/web"}],
        "lifecycle": {"preStop": {"sleep": {"seconds": 2}}},
    }
    volumes = [{"name": "files", "configMap": {"name": "files"}}]
    client.post(pods, json=pod("web", container, volumes=volumes)).raise_for_status()
    until(lambda: is_ready(status(client, pods, "web")), "a Ready pod")
    address = status(client, pods, "web")["podIP"]
    assert httpx.get(f"http://{address}:8080/", trust_env=False).text == "from a ConfigMap"

    eviction = {"apiVersion": "policy/v1", "kind": "Eviction", "metadata": {"name": "web"}}
    client.post(f"{pods}/web/eviction", json=eviction).raise_for_status()
    until(lambda: "deletionTimestamp" in client.get(f"{pods}/web").json()["metadata"], "the eviction")
    assert httpx.get(f"http://{address}:8080/", trust_env=False).status_code == 200, "it serves while the hook sleeps"
    assert not ended.exists()
    until(lambda: client.get(f"{pods}/web").status_code == 404, "the end of the pod")
    assert ended.exists(), "SIGTERM came"
    with pytest.raises(httpx.ConnectError):
        httpx.get(f"http://{address}:8080/", trust_env=False)


def test_pods_have_ports_of_their_own(client, pods, tmp_path):
    (tmp_path / "server.py").write_text(SERVER)
    probe = {"httpGet": {"port": 8080}, "periodSeconds": 1}
    for name in ("a", "b"):
        (tmp_path / name).write_text(name)
        args = [str(tmp_path / each) for each in ("server.py", name, f"ended-{name}")]
        container = {"args": [*args, "0.0.0.0"], "readinessProbe": probe}
        client.post(pods, json=pod(name, container)).raise_for_status()
    for name in ("a", "b"):
        until(lambda: is_ready(status(client, pods, name)), "a Ready pod")  # noqa: B023 - called at once
        address = status(client, pods, name)["podIP"]
        assert httpx.get(f"http://{address}:8080/", trust_env=False).text == name


def test_container_that_ends_is_started_again_and_its_last_exit_is_told(client, pods):
    client.post(pods, json=pod("fails", {"args": ["-c", "raise SystemExit(3)"]})).raise_for_status()

    def twice():
        (told,) = status(client, pods, "fails").get("containerStatuses", [{"restartCount": 0}])
        return told if told["restartCount"] >= 2 and told["lastState"] else None

    told = until(twice, "two restarts")
    assert (told["lastState"]["terminated"]["exitCode"], told["lastState"]["terminated"]["reason"]) == (3, "Error")


def test_init_container_comes_first_and_a_pod_that_ends_succeeds(client, pods, tmp_path):
    write = {"name": "first", "image": "web:1", "args": ["-c", f"open({str(tmp_path / 'a')!r}, 'w').write('made')"]}
    read = {"args": ["-c", f"assert open({str(tmp_path / 'a')!r}).read() == 'made'"]}
    client.post(pods, json=pod("once", read, initContainers=[write], restartPolicy="Never")).raise_for_status()
    until(lambda: status(client, pods, "once")["phase"] == "Succeeded", "a success")


def test_process_that_ignores_the_signal_is_killed_at_the_end_of_its_grace(client, pods, tmp_path):
    runs, asked = tmp_path / "runs", tmp_path / "asked"
    code = f"""
import pathlib, signal, time
signal.signal(signal.SIGTERM, lambda *_: pathlib.Path({str(asked)!r}).touch())
pathlib.Path({str(runs)!r}).touch()
while True:
    time.sleep(1)
"""
    client.post(pods, json=pod("stays", {"args": ["-c", code]}, terminationGracePeriodSeconds=1)).raise_for_status()
    until(runs.exists, "a running process")
    client.delete(f"{pods}/stays").raise_for_status()
    until(lambda: client.get(f"{pods}/stays").status_code == 404, "the end of the pod")
    assert asked.exists()


def test_liveness_that_fails_starts_the_container_again(client, pods, tmp_path):
    (tmp_path / "server.py").write_text(SERVER)
    probes = {
        "startupProbe": {"httpGet": {"path": "/", "port": 8080}, "periodSeconds": 1, "failureThreshold": 60},
        "livenessProbe": {"httpGet": {"path": "/fails", "port": 8080}, "periodSeconds": 1, "failureThreshold": 1},
    }
    args = [str(tmp_path / "server.py"), str(tmp_path / "server.py"), str(tmp_path / "ended"), "0.0.0.0"]
    client.post(pods, json=pod("dead", {"args": args, **probes})).raise_for_status()

    def again():
        return status(client, pods, "dead").get("containerStatuses", [{"restartCount": 0}])[0]["restartCount"] > 0

    until(again, "a restart")


def test_what_cannot_be_mounted_is_told(client, pods):
    volumes = [{"name": "files", "configMap": {"name": "absent"}}]
    client.post(pods, json=pod("waits", {"args": ["-c", ""]}, volumes=volumes)).raise_for_status()

    def message():
        (told,) = status(client, pods, "waits").get("containerStatuses", [{"state": {}}])
        return told["state"].get("waiting", {}).get("message")

    assert "absent" in until(message, "a reason")


def test_node_that_falls_silent_is_not_ready_and_comes_back(client, node):
    def condition():
        conditions = client.get("/api/v1/nodes/works").json()["status"]["conditions"]
        return next(each["status"] for each in conditions if each["type"] == "Ready")

    node.send_signal(signal.SIGSTOP)
    try:
        until(lambda: condition() == "Unknown", "a lost node")
    finally:
        node.send_signal(signal.SIGCONT)
    until(lambda: condition() == "True", "the node")
