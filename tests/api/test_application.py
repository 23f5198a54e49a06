"""The control API as clients meet it: over its real listener, with stand-ins for replicas."""

import json
import socket
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import httpx
import psutil
import pytest

from argosy.api.application import MAX_BODY, ROUTES
from argosy.spec.settings import Home, Settings
from argosy.store import open_store
from tests.platform.up import STAND_IN_UP, Up, clear, until
from tests.store.samples import FILES, model_lineage, model_manifest, write_folder

pytestmark = pytest.mark.xdist_group("application")  # one platform


@pytest.fixture(scope="module")
def platform(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Up]:
    home = Home(tmp_path_factory.mktemp("h")).create()
    home.config.write_text("control: {port: 0}\ngateway: {port: 0}\n")
    store = open_store(home, Settings())
    for n, behaviour in enumerate([b"ok", b"refuse"]):
        folder = write_folder(home.root / f"p{n}", FILES | {"behaviour": behaviour})
        store.add(folder, name="digits", manifest=model_manifest(), lineage=model_lineage())
    store.close()
    up = Up(home, STAND_IN_UP).ready()
    yield up
    up.stop()
    clear(home)


def refused(answer: httpx.Response, status: int, code: str, words: str = "") -> None:
    found = answer.json()
    assert (answer.status_code, found["code"]) == (status, code), answer.text
    assert words in found["error"]


def test_only_the_token_opens_it(platform: Up):
    for header in ("", "Bearer", "Bearer nonsense", "Basic abc"):
        answer = platform.ask("GET", "/v1/status", headers={"authorization": header})
        refused(answer, 401, "unauthenticated", "run/token")
        assert answer.headers["www-authenticate"] == "Bearer"
    refused(platform.ask("GET", "/openapi.json", headers={"authorization": ""}), 401, "unauthenticated")


@pytest.mark.parametrize("host", ["evil.example", "127.0.0.1.evil.example:80", "localhost.evil", ""])
def test_a_name_of_somebody_else_is_refused(platform: Up, host: str):
    refused(platform.ask("GET", "/v1/status", headers={"host": host}), 403, "permission_denied", "localhost")


def test_loopback_names_are_answered(platform: Up):
    for host in ("localhost", "LOCALHOST:1", "127.0.0.1:7070", "[::1]", "[::1]:7070"):
        assert platform.ask("GET", "/v1/status", headers={"host": host}).status_code == 200


def test_what_cannot_be_understood_is_told_in_detail(platform: Up):
    path = "/v1/endpoints/digits"
    refused(platform.ask("PUT", path, content=b"{"), 400, "invalid_argument", "not valid JSON")
    refused(platform.ask("PUT", path, content=b"[]"), 400, "invalid_argument", "the body")
    refused(platform.ask("PUT", path, json={}), 400, "invalid_argument", "model")
    refused(platform.ask("PUT", path, json={"model": "digits:1", "replica": 2}), 400, "invalid_argument", "'replicas'")
    refused(platform.ask("PUT", path, json={"model": "digits:1", "name": "x"}), 400, "invalid_argument", "the path")
    refused(platform.ask("PUT", path, json={"model": "digits:1", "replicas": -1}), 400, "invalid_argument", "replicas")
    refused(platform.ask("PUT", path, json={"model": "digit:1"}), 404, "not_found", "did you mean 'digits'")
    refused(platform.ask("PUT", path + "?wait=-1", json={"model": "digits:1"}), 400, "invalid_argument", "wait")
    huge = {"model": "digits:1", "resources": {"memory": 2**60}}
    refused(platform.ask("PUT", path, json=huge), 400, "invalid_argument", "GiB of memory, and there are")
    refused(platform.ask("GET", path + "?wiat=1"), 400, "invalid_argument", "did you mean 'wait'")
    refused(platform.ask("GET", "/v1/endpoints/none"), 404, "not_found")
    refused(platform.ask("DELETE", "/v1/endpoints/none"), 404, "not_found")
    refused(platform.ask("GET", "/v1/nothing"), 404, "not_found", "/openapi.json")
    answer = platform.ask("DELETE", "/v1/status")
    refused(answer, 405, "method_not_allowed")
    assert "GET" in answer.headers["allow"]


def test_a_body_over_the_limit_is_refused(platform: Up):
    for path, most in (("/v1/endpoints/digits", 256 * 1024), ("/v2/models/digits/feedback", MAX_BODY)):
        method = "PUT" if "endpoints" in path else "POST"
        refused(platform.ask(method, path, content=b" " * (most + 1)), 413, "payload_too_large")
        refused(platform.ask(method, path, content=b" " * most), 400, "invalid_argument")


def test_the_description_names_every_route_and_resolves(platform: Up):
    document = platform.call("GET", "/openapi.json")
    assert document["openapi"] == "3.1.0"
    described = {(method.upper(), path) for path, item in document["paths"].items() for method in item}
    assert described == {(route.method, route.path) for route in ROUTES}
    text = json.dumps(document)
    wanted = {part.split('"')[0] for part in text.split('"#/components/schemas/')[1:]}
    assert wanted <= set(document["components"]["schemas"])
    assert "wait" in [p["name"] for p in document["paths"]["/v1/endpoints/{name}"]["get"]["parameters"]]


def test_models_versions_and_aliases(platform: Up):
    assert [each["name"] for each in platform.call("GET", "/v1/models")] == ["digits"]
    platform.call("POST", "/v1/aliases", {"name": "digits", "alias": "champion", "version": 1})
    model = platform.call("GET", "/v1/models/digits")
    assert [each["number"] for each in model["versions"]] == [1, 2]
    assert model["aliases"] == {"champion": 1}
    refused(platform.ask("GET", "/v1/models/digit"), 404, "not_found", "digits")


def test_an_endpoint_from_its_declaration_to_its_end(platform: Up):
    body = {"model": "digits@champion", "replicas": 1}
    platform.call("POST", "/v1/aliases", {"name": "digits", "alias": "champion", "version": 1})
    deployed = platform.call("PUT", "/v1/endpoints/mine", body, wait=60)
    assert deployed["url"].endswith("/v2/models/mine/infer")
    assert deployed["endpoint"]["state"] == "ready"
    assert (deployed["endpoint"]["version"], deployed["endpoint"]["model"]) == ("digits:1", "digits@champion")
    key = {"authorization": f"Bearer {deployed['key']}"}
    assert httpx.post(deployed["url"], json={}, headers=key).text.startswith("mine-")
    assert httpx.post(deployed["url"], json={}).status_code == 401
    assert platform.call("PUT", "/v1/endpoints/mine", body, wait=60)["key"] is None
    (replica,) = platform.call("GET", "/v1/replicas")
    assert (replica["endpoint"], replica["doing"]) == ("mine", "")
    assert replica["memory"] == pytest.approx(psutil.Process(replica["pid"]).memory_info().rss, rel=0.1)

    failed = platform.call("PUT", "/v1/endpoints/mine", {"model": "digits:2"}, wait=60)["endpoint"]
    assert (failed["state"], failed["serving"]) == ("failed", "digits:1")
    assert "golden example 3" in failed["reason"]
    assert httpx.post(deployed["url"], json={}, headers=key).status_code == 200

    assert platform.call("DELETE", "/v1/endpoints/mine") == {"deleted": "mine"}
    assert httpx.post(deployed["url"], json={}, headers=key).status_code == 404
    until(lambda: platform.call("GET", "/v1/replicas") == [])
    platform.call("DELETE", f"/v1/keys/{deployed['key_id']}")


def test_a_public_endpoint_needs_no_key_and_a_stopped_one_answers_503(platform: Up):
    body = {"model": "digits:1", "public": True}
    deployed = platform.call("PUT", "/v1/endpoints/open", body, wait=60)
    assert deployed["key"] is None
    assert httpx.post(deployed["url"], json={}).status_code == 200
    stopped = platform.call("PUT", "/v1/endpoints/open", body | {"replicas": 0}, wait=60)
    assert stopped["endpoint"]["state"] == "stopped"
    assert httpx.post(deployed["url"], json={}).status_code == 503
    platform.call("DELETE", "/v1/endpoints/open")


def test_an_alias_that_moves_takes_its_followers_with_it(platform: Up):
    def move(version: int) -> None:
        platform.call("POST", "/v1/aliases", {"name": "digits", "alias": "next", "version": version, "actor": "ada"})

    move(1)
    platform.call("PUT", "/v1/endpoints/goes", {"model": "digits@next", "follow": True}, wait=60)
    move(2)
    assert platform.call("GET", "/v1/endpoints/goes")["version"] == "digits:2"
    store = open_store(platform.home, Settings())
    store.registry.set_alias("digits", "next", 1)
    store.close()
    until(lambda: platform.call("GET", "/v1/endpoints/goes")["version"] == "digits:1")
    assert [each["actor"] for each in platform.call("GET", "/v1/history/digits@next")] == ["ada", "ada", "argosy"]
    platform.call("DELETE", "/v1/endpoints/goes")


def test_a_plan_a_conflict_and_what_the_ledger_tells_of_them(platform: Up):
    path, body = "/v1/endpoints/told", {"model": "digits:1", "retries": 3}
    plan = platform.call("POST", f"{path}/plan", body)
    assert (plan["action"], plan["generation"], plan["version"]) == ("create", 0, "digits:1")
    assert {"field": "retries", "old": None, "new": 3} in plan["changes"]
    first = platform.call("PUT", path, body, generation=0, actor="ada", reason="the first", wait=60)
    assert (first["changed"]["action"], first["endpoint"]["generation"]) == ("create", 1)
    refused(platform.ask("PUT", f"{path}?generation=0", json=body), 409, "conflict", "generation 1, you saw none")

    again = platform.call("PUT", path, body, generation=1, wait=60)
    assert (again["changed"]["action"], again["endpoint"]["generation"]) == ("nothing", 1)
    more = body | {"replicas": 2}
    assert platform.call("POST", f"{path}/plan", more)["action"] == "scale"
    assert platform.call("POST", f"{path}/plan", body | {"timeout": 5})["action"] == "settings"
    assert platform.call("POST", f"{path}/plan", body | {"runtime": {"threads": 2}})["action"] == "revision"
    platform.call("PUT", path, more, generation=1, actor="bob", wait=60)
    refused(platform.ask("DELETE", f"{path}?generation=1"), 409, "conflict")

    history = platform.call("GET", "/v1/history/told")
    assert [(each["event"], each["actor"]) for each in history] == [
        ("declare", "ada"),
        ("serve", "argosy"),
        ("declare", "bob"),
    ]
    now = platform.call("GET", "/v1/served/told")["served"][0]
    assert (now["version"], now["weight"], now["actor"], now["reason"]) == ("digits:1", 100, "ada", "the first")
    assert platform.call("GET", "/v1/served/told", at="2020-01-01")["served"] == []
    refused(platform.ask("GET", "/v1/served/told?at=yesterday"), 400, "invalid_argument", "2026-01-31")
    refused(platform.ask("GET", "/v1/history/nobody"), 404, "not_found")
    assert platform.call("GET", "/v1/ledger")["broken"] is None
    platform.call("DELETE", path, generation=2)
    assert platform.call("GET", "/v1/served/told")["served"] == []


def test_keys_work_when_they_are_answered_and_end_when_they_are_revoked(platform: Up):
    url = platform.call("PUT", "/v1/endpoints/keyed", {"model": "digits:1"}, wait=60)["url"]
    made = platform.call("POST", "/v1/keys", {"name": "bob", "scopes": ["keyed"]})
    header = {"authorization": f"Bearer {made['key']}"}
    assert httpx.post(url, json={}, headers=header).status_code == 200
    listed = next(each for each in platform.call("GET", "/v1/keys") if each["id"] == made["id"])
    assert "hash" not in listed
    assert "key" not in listed
    platform.call("DELETE", f"/v1/keys/{made['id']}")
    assert httpx.post(url, json={}, headers=header).status_code == 401
    other = platform.call("POST", "/v1/keys", {"name": "eve", "scopes": ["other"]})
    assert httpx.post(url, json={}, headers={"authorization": f"Bearer {other['key']}"}).status_code == 403
    refused(platform.ask("POST", "/v1/keys", json={"name": "x", "rate": -1}), 400, "invalid_argument")
    refused(platform.ask("DELETE", "/v1/keys/none"), 404, "not_found")
    platform.call("DELETE", "/v1/endpoints/keyed")


def test_declared_keys_and_limits_hold_as_soon_as_they_are_answered(platform: Up):
    path = "/v1/endpoints/limited"
    app = {"name": "app", "requests_per_second": 0.01, "burst": 1}
    body = {"model": "digits:1", "keys": [app, {"name": "ops"}], "limits": {"requests": 1}}
    assert [each["action"] for each in platform.call("POST", f"{path}/plan", body)["keys"]] == ["make", "make"]
    found = platform.call("PUT", path, body, actor="ada", wait=60)
    texts = {each["name"]: {"x-api-key": each["key"]} for each in found["keys"]}
    assert (found["key"], texts.keys()) == (None, {"app", "ops"})
    answers = [httpx.post(found["url"], json={}, headers=texts["app"]) for _ in range(2)]
    assert [each.status_code for each in answers] == [200, 429]
    assert "retry-after" in answers[1].headers

    url = httpx.URL(found["url"])
    with socket.create_connection((url.host, url.port)) as held:
        key = texts["ops"]["x-api-key"]
        head = f"POST {url.path} HTTP/1.1\r\nhost: x\r\nx-api-key: {key}\r\ncontent-length: 4\r\n\r\n"
        held.sendall(f"{head}ab".encode())
        refused = until(lambda: over(httpx.post(found["url"], json={}, headers=texts["ops"])))
        assert "as its limits allow" in refused.json()["error"]
        held.sendall(b"cd")
        assert held.recv(1000).startswith(b"HTTP/1.1 200")
    assert httpx.post(found["url"], json={}, headers=texts["ops"]).status_code == 200

    again = platform.call("PUT", path, body, wait=60)
    assert (again["changed"]["action"], again["keys"], again["endpoint"]["generation"]) == ("nothing", [], 1)
    less = platform.call("PUT", path, body | {"keys": [{"name": "ops"}]}, wait=60)
    assert [(each["action"], each["name"]) for each in less["changed"]["keys"]] == [("revoke", "app")]
    assert httpx.post(found["url"], json={}, headers=texts["app"]).status_code == 401
    told = platform.ask("GET", "/v1/history/limited").text
    assert [each["name"] for each in json.loads(told)[0]["body"]["keys"]] == ["app", "ops"]
    assert not any(each["x-api-key"] in told for each in texts.values())
    platform.call("DELETE", path)
    assert "ops" not in {each["name"] for each in platform.call("GET", "/v1/keys") if not each["revoked"]}


def test_first_deploys_at_once_make_one_key(platform: Up):
    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(lambda _: platform.call("PUT", "/v1/endpoints/once", {"model": "digits:1"}), range(4)))
    assert sum(each["key"] is not None for each in found) == 1
    good = [each for each in platform.call("GET", "/v1/keys") if "once" in each["scopes"] and not each["revoked"]]
    assert [each["id"] for each in good] == [each["key_id"] for each in found if each["key_id"]]
    platform.call("DELETE", "/v1/endpoints/once")


def over(answer: httpx.Response) -> httpx.Response | None:
    return answer if answer.status_code == 503 else None


def test_what_is_said_of_keys_and_limits_must_make_sense(platform: Up):
    def bad(words: str, **more: object) -> None:
        answer = platform.ask("POST", "/v1/endpoints/x/plan", json={"model": "digits:1", **more})
        refused(answer, 400, "invalid_argument", words)

    bad("did you mean 'requests_per_second'", keys=[{"name": "a", "request_per_second": 1}])
    bad("did you mean 'pending'", limits={"pendin": 1})
    bad("limits.requests must be at least 1", limits={"requests": 0})
    bad("a name or", keys=[{}])
    refused(platform.ask("POST", "/v1/keys", json={"name": "x", "rate": 1e9}), 400, "invalid_argument", "0.001 to")
    tester = platform.call("POST", "/v1/keys", {"name": "tester", "scopes": ["digits:test"]})
    platform.call("DELETE", f"/v1/keys/{tester['id']}")


def test_logs_are_read_from_the_end_and_followed(platform: Up):
    log = platform.home.logs / "some-0.log"
    log.write_text("".join(f"line {n}\n" for n in range(20_000)))
    assert platform.ask("GET", "/v1/logs/some-0?lines=2").text == "line 19998\nline 19999\n"
    assert platform.ask("GET", "/v1/logs/some-0").text.count("\n") == 100
    for name in ("none", "..%2Fconfig", "%2e%2e"):
        assert platform.ask("GET", f"/v1/logs/{name}").status_code == 404
    refused(platform.ask("GET", "/v1/logs/some-0?lines=-1"), 400, "invalid_argument")
    url = json.loads((platform.home.run / "control.json").read_text())["url"]
    header = {"authorization": f"Bearer {(platform.home.run / 'token').read_text()}"}
    with httpx.stream("GET", f"{url}/v1/logs/some-0?lines=1&follow", headers=header, timeout=30) as answer:
        lines = answer.iter_lines()
        assert next(lines) == "line 19999"
        with log.open("a") as more:
            more.write("and more\n")
        assert next(lines) == "and more"


def test_the_status_tells_where_everything_is(platform: Up):
    status = platform.call("GET", "/v1/status")
    assert status["pid"] == platform.process.pid
    assert status["gateway"].startswith("http://127.0.0.1:")
    assert status["error"] == ""
