"""The real Prometheus reads what was written, scrapes a live platform, and answers every query of the dashboards."""

import json
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx
import pytest
from click.testing import CliRunner

from argosy.cli.main import argosy
from argosy.spec.settings import Home
from argosy.store.store import Store
from argosy.telemetry.export.files import DASHBOARDS, PROMETHEUS, RULES
from tests.platform.packages import push
from tests.platform.up import Up, until
from tests.ports import free
from tests.programs import need
from tests.telemetry.export.kit import dashboards, queries, rules

BODY = {"inputs": [{"name": "x", "datatype": "FP32", "shape": [1, 4], "data": [1, 1, 1, 1]}]}
WITHOUT_DATA = {
    "Alerts",
    "Candidate's part",
    "Drifted",
    "Error budget left",
    "Looked at",
    "Phase",
    "Recorder",
    "Traces",
}
"""What a platform without a rollout, a recorder, tracing and findings has nothing to tell of."""


class Prometheus:
    """Debian's, on a port of its own. It scrapes every second rather than every 15."""

    def __init__(self, config: Path) -> None:
        config.write_text(config.read_text().replace("15s", "1s"))
        rules = config.parent / "rules" / "argosy.yml"
        subprocess.run([need("promtool"), "check", "config", str(config)], check=True, capture_output=True)
        rules.write_text(rules.read_text())
        port = free()
        self.url = f"http://127.0.0.1:{port}"
        data = config.parent / "data"
        command = [need("prometheus"), f"--config.file={config}", f"--storage.tsdb.path={data}"]
        with (config.parent / "log").open("wb") as log:
            self.process = subprocess.Popen(
                [*command, f"--web.listen-address=127.0.0.1:{port}"], stdout=log, stderr=subprocess.STDOUT
            )

    def query(self, expr: str) -> list[dict]:
        answer = httpx.get(f"{self.url}/api/v1/query", params={"query": expr}).json()
        assert answer["status"] == "success", (expr, answer)
        return answer["data"]["result"]

    def ready(self) -> bool:
        try:
            return httpx.get(f"{self.url}/-/ready").status_code == 200
        except httpx.HTTPError:
            return False

    def stop(self) -> None:
        self.process.terminate()
        self.process.wait(60)


@pytest.fixture
def platform(home: Home, store: Store, start: Callable[..., Up]) -> Iterator[Up]:
    push(store, home.root / "p", 2.0)
    up = start().ready()
    declared = {"model": "digits:1", "slos": [{"objective": 0.99}, {"name": "fast", "objective": 0.9, "latency": 0.5}]}
    up.deployed = up.call("PUT", "/v1/endpoints/digits", declared, wait=60)
    yield up
    up.stop()


@pytest.fixture
def exported(platform: Up, home: Home, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("ARGOSY_HOME", str(home.root))
    result = CliRunner().invoke(argosy, ["export", "grafana", "--output", str(tmp_path / "out"), "--json"])
    assert result.exit_code == 0, result.output
    assert {str(tmp_path / "out" / name) for name in (PROMETHEUS, RULES, *DASHBOARDS)} < set(json.loads(result.stdout))
    return tmp_path / "out"


@pytest.fixture
def prometheus(exported: Path) -> Iterator[Prometheus]:
    made = Prometheus(exported / PROMETHEUS)
    yield made
    made.stop()


@pytest.mark.slow
def test_every_query_and_rule_answers_and_the_main_ones_have_data(
    platform: Up, exported: Path, prometheus: Prometheus
) -> None:
    until(prometheus.ready)
    key = {"authorization": f"Bearer {platform.deployed['key']}"}
    began, sent = time.monotonic(), 0
    with httpx.Client(headers=key) as client:
        while time.monotonic() - began < 12 or sent < 150:
            assert client.post(platform.deployed["url"], json=BODY).status_code == 200
            sent += 1
            time.sleep(0.02)
    found = {name: (exported / name).read_bytes() for name in (RULES, *DASHBOARDS)}
    until(lambda: [each["value"][1] for each in prometheus.query('up{job="argosy"}')] == ["1"])

    def empty() -> set[str]:
        return {
            title
            for dashboard in dashboards(found).values()
            for title, expr in queries(dashboard, job="argosy", endpoint="digits")
            if not prometheus.query(expr)
        }

    until(lambda: empty() <= WITHOUT_DATA)  # a scrape that takes too long leaves all without
    for rule in rules(found):
        prometheus.query(rule["expr"])
    loaded = httpx.get(f"{prometheus.url}/api/v1/rules").json()["data"]["groups"]
    assert {rule["health"] for group in loaded for rule in group["rules"]} == {"ok"}
    (requests,) = until(lambda: prometheus.query("endpoint:argosy_requests:rate5m"))
    assert float(requests["value"][1]) > 0.2
    slos = until(lambda: prometheus.query("slo:argosy_bad:ratio_rate5m"))
    assert {each["metric"]["slo"] for each in slos} == {"availability", "fast"}
    (p99,) = until(lambda: prometheus.query("endpoint:argosy_latency_seconds:p99"))
    assert float(p99["value"][1]) > 0


def test_the_page_opens_for_its_own_token_which_opens_nothing_else(platform: Up, home: Home) -> None:
    token = (home.root / "metrics.token").read_text()
    assert (home.root / "metrics.token").stat().st_mode & 0o777 == 0o600
    scraper = {"authorization": f"Bearer {token}"}
    assert platform.ask("GET", "/metrics").status_code == 200
    answer = platform.ask("GET", "/metrics", headers=scraper)
    assert answer.status_code == 200
    checked = subprocess.run(
        [need("promtool"), "check", "metrics"], input=answer.content, capture_output=True, check=False
    )
    assert checked.returncode == 0, checked.stdout.decode() + checked.stderr.decode()
    for path in ("/v1/status", "/v1/keys", "/openapi.json"):
        assert platform.ask("GET", path, headers=scraper).status_code == 401
    assert platform.ask("GET", "/metrics", headers={"authorization": "Bearer wrong"}).status_code == 401
    assert platform.ask("GET", "/metrics", headers=scraper | {"host": "evil.example.org"}).status_code == 403


@pytest.mark.slow
def test_series_stay_few_and_those_of_a_revision_go_with_it(platform: Up, store: Store, home: Home) -> None:
    def page() -> str:
        return platform.ask("GET", "/metrics").text

    key = {"authorization": f"Bearer {platform.deployed['key']}"}
    with httpx.Client(headers=key) as client:
        for number in range(200):
            headers = {"x-request-id": f"id-{number}", "user-agent": f"agent-{number}"}
            client.post(platform.deployed["url"], json=BODY, headers=headers)
            client.get(f"{platform.deployed['url']}/{number}")
    before = page()
    assert len(before.splitlines()) < 400
    assert "id-7" not in before
    push(store, home.root / "p2", 3.0)
    platform.call("PUT", "/v1/endpoints/digits", {"model": "digits:2"}, wait=60)
    old = platform.deployed["endpoint"]["revision"]
    until(lambda: f'revision="{old}"' not in page())
    assert 'version="digits:2"' in page()
