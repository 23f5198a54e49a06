"""The kubelet whose pods are processes: what a pod of it does from its start to its end, as the real API sees it."""

import base64
import json
import re
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


IMAGES = {
    "web:1": {"entrypoint": ["python3"]},
    "big:1": {"entrypoint": ["python3"], "oom_after": 0.1},
    "refused:1": {"error": "pull access denied"},
}
MERGE = {"content-type": "application/merge-patch+json"}


@pytest.fixture(scope="module")
def node(kubernetes):
    with kubernetes.node("works", IMAGES) as process:
        yield process


def pod(name, container, **spec):
    chosen = {"nodeSelector": {"kubernetes.io/hostname": "works"}, "automountServiceAccountToken": False}
    containers = [{"name": "main", "image": "web:1", **container}]
    return {"metadata": {"name": name}, "spec": {"containers": containers, **chosen, **spec}}


def server(folder, name, text, **more):
    """A pod's container that answers with a text at every address of it, and is Ready once it does."""
    (folder / "server.py").write_text(SERVER)
    (folder / name).write_text(text)
    args = [str(folder / each) for each in ("server.py", name, f"ended-{name}")]
    return {"args": [*args, "0.0.0.0"], "readinessProbe": {"httpGet": {"port": 8080}, "periodSeconds": 1}, **more}


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
        "lifecycle": {"preStop": {"sleep": {"seconds": 8}}},
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
    for name in ("a", "b"):
        client.post(pods, json=pod(name, server(tmp_path, name, name))).raise_for_status()
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
    client.post(pods, json=pod("stays", {"args": ["-c", code]}, terminationGracePeriodSeconds=5)).raise_for_status()
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


def create(client, pods, kind, name, **content):
    path = f"{pods.rpartition('/')[0]}/{kind}s"
    client.post(path, json={"metadata": {"name": name}, **content}).raise_for_status()
    return f"{path}/{name}"


def container_status(client, pods, name):
    (told,) = status(client, pods, name).get("containerStatuses", [{"state": {}, "lastState": {}, "restartCount": 0}])
    return told


def terminated(client, pods, name):
    return container_status(client, pods, name)["state"].get("terminated")


def test_mounted_secrets_and_config_maps_follow_their_objects_at_once(client, pods, tmp_path):
    """Both files of a volume are read again and again: they are never of two versions."""
    code = f"""
import pathlib, time
seen = pathlib.Path({str(tmp_path / "seen")!r})
while True:
    data = pathlib.Path("/etc/keys").joinpath("..data").resolve()
    try:
        pair = (data / "a").read_text(), (data / "b").read_text()
    except FileNotFoundError:  # this version was replaced and removed meanwhile
        continue
    assert pair[0] == pair[1], pair
    text = pathlib.Path("/etc/texts/text").read_text()
    seen.write_text(f"{{pair[0]}} {{text}} {{pathlib.Path('/etc/keys/a').read_text()}}")
    time.sleep(0.01)
"""
    secret = create(client, pods, "secret", "keys", stringData={"a": "1", "b": "1"})
    texts = create(client, pods, "configmap", "texts", data={"text": "old", "other": "x"})
    items = [{"key": "text", "path": "text"}]
    volumes = [
        {"name": "keys", "secret": {"secretName": "keys", "defaultMode": 0o400}},
        {"name": "texts", "configMap": {"name": "texts", "items": items}},
    ]
    mounts = [{"name": name, "mountPath": f"/etc/{name}"} for name in ("keys", "texts")]
    client.post(pods, json=pod("follows", {"args": ["-c", code], "volumeMounts": mounts}, volumes=volumes))
    until(lambda: (tmp_path / "seen").exists() and (tmp_path / "seen").read_text() == "1 old 1", "the files")
    changed = {name: base64.b64encode(b"2").decode() for name in ("a", "b")}
    client.patch(secret, content=json.dumps({"data": changed}), headers=MERGE).raise_for_status()
    client.patch(texts, content=json.dumps({"data": {"text": "new"}}), headers=MERGE).raise_for_status()
    until(lambda: (tmp_path / "seen").read_text() == "2 new 2", "what has changed")
    assert container_status(client, pods, "follows")["restartCount"] == 0


def test_variables_come_from_secrets_config_maps_and_the_pod(client, pods, tmp_path):
    create(client, pods, "secret", "one", stringData={"password": "swordfish"})
    create(client, pods, "configmap", "all", data={"LEVEL": "high"})
    env = [
        {"name": "PASSWORD", "valueFrom": {"secretKeyRef": {"name": "one", "key": "password"}}},
        {"name": "NONE", "valueFrom": {"secretKeyRef": {"name": "none", "key": "a", "optional": True}}},
        {"name": "TEAM", "valueFrom": {"fieldRef": {"fieldPath": "metadata.labels['team']"}}},
        {"name": "PLAIN", "value": "$$(TEAM) of $(TEAM)"},
    ]
    names = ["PASSWORD", "NONE", "TEAM", "PLAIN", "X_LEVEL"]
    out = tmp_path / "out"
    code = f"import os; open({str(out)!r}, 'w').write(repr([os.environ.get(each) for each in {names}]))"
    container = {"args": ["-c", code], "env": env, "envFrom": [{"prefix": "X_", "configMapRef": {"name": "all"}}]}
    made = pod("reads", container, restartPolicy="Never")
    made["metadata"]["labels"] = {"team": "blue"}
    client.post(pods, json=made).raise_for_status()
    until(lambda: status(client, pods, "reads")["phase"] == "Succeeded", "its end")
    assert out.read_text() == repr(["swordfish", None, "blue", "$(TEAM) of blue", "high"])


def test_what_is_not_in_a_secret_is_told(client, pods):
    create(client, pods, "secret", "one", stringData={"a": "b"})
    env = [{"name": "A", "valueFrom": {"secretKeyRef": {"name": "one", "key": "b"}}}]
    client.post(pods, json=pod("lacks", {"args": ["-c", ""], "env": env})).raise_for_status()

    def waiting():
        found = container_status(client, pods, "lacks")["state"].get("waiting", {})
        return found if found.get("reason") == "CreateContainerConfigError" else None

    assert until(waiting, "a reason")["message"].startswith("couldn't find key b in Secret t-")


@pytest.mark.parametrize(
    ("container", "reason", "message"),
    [
        ({"image": "absent:1"}, "ImagePullBackOff", r'Back-off pulling image "absent:1": ErrImagePull: .* not found'),
        ({"image": "refused:1"}, "ErrImagePull", r"failed to pull and unpack .*: pull access denied"),
        ({"image": "refused:1", "imagePullPolicy": "Never"}, "ErrImageNeverPull", "is not present with pull policy"),
    ],
    ids=["back-off", "denied", "never"],
)
def test_image_that_cannot_be_pulled_is_told(client, pods, container, reason, message):
    client.post(pods, json=pod("waits", container)).raise_for_status()

    def waiting():
        found = container_status(client, pods, "waits")["state"].get("waiting", {})
        return found if found.get("reason") == reason else None

    assert re.search(message, until(waiting, reason)["message"])
    assert status(client, pods, "waits")["phase"] == "Pending"


def test_image_that_is_published_later_is_pulled(kubernetes, client, pods):
    volumes = [{"name": "model", "image": {"reference": "late:2"}}]
    container = {"args": ["-c", "import time; time.sleep(60)"], "volumeMounts": [{"name": "model", "mountPath": "/m"}]}
    client.post(pods, json=pod("late", container, volumes=volumes, terminationGracePeriodSeconds=0))
    until(lambda: "waiting" in container_status(client, pods, "late")["state"], "waiting")
    kubernetes.publish("works", IMAGES | {"late:2": {"folder": "/"}})
    until(lambda: "running" in container_status(client, pods, "late")["state"], "a running container")


def test_container_that_takes_too_much_memory_is_told_as_killed(client, pods):
    code = "import time; time.sleep(60)"
    container = {"image": "big:1", "args": ["-c", code]}
    client.post(pods, json=pod("big", container, restartPolicy="Never")).raise_for_status()
    told = until(lambda: terminated(client, pods, "big"), "its end")
    assert (told["exitCode"], told["reason"]) == (137, "OOMKilled")


@pytest.mark.parametrize("said", ["file", "log"])
def test_last_words_of_a_container_are_told(client, pods, said):
    code = {
        "file": "import sys; open(sys.argv[1], 'w').write('no such model')",
        "log": "import sys; sys.stderr.write('no such model')",
    }[said]
    args = ["-c", f"{code}; raise SystemExit(3)", "/dev/termination-log"]
    container = {"args": args, "terminationMessagePolicy": "FallbackToLogsOnError"}
    client.post(pods, json=pod("says", container)).raise_for_status()
    until(lambda: container_status(client, pods, "says")["restartCount"] >= 1, "a restart")

    def backing_off():
        told = container_status(client, pods, "says")
        return told if told["state"].get("waiting", {}).get("reason") == "CrashLoopBackOff" else None

    told = until(backing_off, "a back-off")
    assert told["lastState"]["terminated"]["message"] == "no such model"
    assert re.match(r"back-off \d+s restarting failed container=main pod=says_t-", told["state"]["waiting"]["message"])
