"""Two platforms, of which one holds the plan."""

import asyncio
import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import httpx
import pytest

from argosy.gateway.admin import Admin
from argosy.spec.address import Address
from argosy.spec.settings import Settings
from argosy.store import open_store
from tests.language.packages import fake_package, manifest
from tests.platform.packages import push
from tests.platform.regions import Regions, regions, until
from tests.platform.up import PATIENCE, Load
from tests.store.samples import model_lineage


@pytest.fixture
def both(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("ARGOSY_VLLM_PYTHON", str(Path(__file__).parents[1] / "fake_vllm"))
    monkeypatch.setenv("PATH", f"{Path(sys.executable).parent}:{os.environ['PATH']}")
    folder = tmp_path_factory.mktemp("r")
    with regions(folder) as found:
        store = open_store(found.homes["east"], Settings())
        push(store, folder / "p1", 3.0)
        push(store, folder / "p2", 5.0)
        store.close()
        yield found


@pytest.fixture
def gemma(both: Regions) -> str:
    """A version whose engine is the fake one."""
    store = open_store(both.homes["east"], Settings())
    folder = fake_package(both.homes["east"].root / "package")
    (folder / "weights" / "none").write_text("none")
    version = store.add(folder, name="gemma", manifest=manifest("gemma"), lineage=model_lineage())
    store.close()
    return version.ref


@pytest.mark.slow
def test_an_endpoint_runs_in_both_regions_with_one_key_and_goes_on_without_its_holder(both: Regions):
    both.add()
    declared = {"model": "digits:1", "regions": ["east", "west"]}
    key = both.up["east"].call("PUT", "/v1/endpoints/digits", declared, wait=60)["key"]
    until(lambda: both.serving("west", "digits:1"))
    assert [both.answers(each, key) for each in ("east", "west")] == [3.0, 3.0]
    refused = both.up["west"].ask("PUT", "/v1/endpoints/digits", json={"model": "digits:1", "replicas": 2})
    assert (refused.status_code, "holds the plan" in refused.text) == (409, True), refused.text
    both.up["east"].call("PUT", "/v1/endpoints/digits", {**declared, "model": "digits:2"}, wait=60)
    until(lambda: both.serving("west", "digits:2"))
    assert both.answers("west", key) == 5.0
    both.up["east"].call("POST", "/v1/regions/west/drain", {"draining": True})
    until(lambda: both.status("west")["replicas"] == 0)
    assert both.status("east")["ready"] == 2, "it had taken the part of the other one before"
    until(lambda: both.ask("west", key).status_code == 200)
    both.up["east"].call("POST", "/v1/regions/west/drain", {"draining": False})
    until(lambda: both.serving("west", "digits:2") and both.status("west")["ready"] == 1)
    both.up["east"].kill()
    both.up["west"].kill()
    both.restart("west")
    assert both.answers("west", key) == 5.0
    there = both.up["west"].call("GET", "/v1/endpoints/digits", wait=60)
    assert (there["state"], there["endpoint"]["regions"]) == ("ready", ["east", "west"])


PLAN = """
models: {digits: {profiles: [{gpu: L4, rates: 3}]}}
demand:
  - {model: digits, area: us, rate: 5}
  - {model: digits, area: eu, rate: 2, regions: [ireland]}
rtt: {us: {oregon: 0.02, ireland: 0.14}, eu: {ireland: 0.02}}
supply:
  - {provider: aws, region: oregon, gpu: L4, price: 0.8, quota: 8}
  - {provider: aws, region: ireland, gpu: L4, price: 1.0, quota: 8}
regions: {oregon: west, ireland: east}
replan: {apply: true, settle: 2}
"""


@pytest.mark.slow
def test_a_plan_is_made_again_without_a_region_that_is_killed_and_back(both: Regions, tmp_path: Path):
    pytest.importorskip("highspy")
    both.add()
    declared = {"model": "digits:1", "regions": ["east", "west"]}
    key = both.up["east"].call("PUT", "/v1/endpoints/digits", declared, wait=60)["key"]
    (tmp_path / "plan.yaml").write_text(PLAN)

    def argosy(*words: str) -> str:
        environ = {"ARGOSY_HOME": str(both.homes["east"].root)}
        command = [sys.executable, "-m", "argosy", *words]
        return subprocess.run(command, env=environ, capture_output=True, text=True, check=True).stdout

    assert "region west: digits 2" in argosy("place", str(tmp_path / "plan.yaml"), "--apply")
    until(lambda: (both.status("west").get("ready"), both.status("east").get("ready")) == (2, 1))
    both.up["west"].kill()
    until(lambda: both.status("east").get("ready") == 3)
    assert both.answers("east", key) == 3.0
    both.up["east"].kill()
    both.restart("east")
    told = argosy("plans", "show")
    assert "plan 2, current, made 2" in told
    assert ": without west" in told
    assert "would not be served" in told
    both.restart("west")
    both.add()
    until(lambda: both.status("east").get("ready") == 1 and both.status("west").get("ready") == 2)
    assert [each["why"] for each in both.up["east"].call("GET", "/v1/plans")["plans"]] == [
        "west is back",
        "without west",
        "argosy place",
    ]
    assert both.answers("west", key) == 3.0


@pytest.mark.slow
def test_a_budget_is_spent_once_over_regions_also_without_the_holder(both: Regions, gemma: str):
    both.add()
    limited = {"name": "team-a", "limits": {"tokens_per_month": 800}}
    language = {"runtime": {"threads": 1}, "language": {"context": 512}}
    declared = {"model": gemma, "regions": ["east", "west"], "keys": [limited], **language}
    key = both.up["east"].call("PUT", "/v1/endpoints/gemma", declared)["keys"][0]["key"]
    urls = {name: f"{each.call('GET', '/v1/status')['gateway']}/v1/chat/completions" for name, each in both.up.items()}

    def chat(region: str) -> httpx.Response:
        body = {"model": "gemma", "messages": [{"role": "user", "content": "x" * 200}], "max_tokens": 10}
        return httpx.post(urls[region], json=body, headers={"x-api-key": key}, timeout=PATIENCE)

    def spend(region: str) -> int:
        """Ask until nothing more is answered."""
        total, found = 0, chat(region)
        while found.status_code == 200:
            total, found = total + found.json()["usage"]["total_tokens"], chat(region)
        error = found.json()["error"]
        assert (error["code"], "this region's share of the key's limit is" in error["message"]) == (
            "insufficient_quota",
            True,
        ), found.text
        return total

    first = until(lambda: (found := chat("west")).status_code == 200 and found)
    spent = first.json()["usage"]["total_tokens"]
    both.up["east"].kill()
    spent += spend("west")
    spent += spend("east")
    assert 300 < spent <= 800


@pytest.mark.slow
def test_a_region_elsewhere_is_known_by_the_fingerprint_of_its_certificate(tmp_path_factory: pytest.TempPathFactory):
    folder = tmp_path_factory.mktemp("t")
    with regions(folder, west=", host: 0.0.0.0, expose: true") as two:
        store = open_store(two.homes["east"], Settings())
        push(store, folder / "p1", 3.0)
        store.close()
        shown = json.loads(two.homes["west"].control.read_bytes())
        token = (two.homes["west"].root / "region.token").read_text()

        def add(fingerprint: str) -> subprocess.CompletedProcess[str]:
            environ = {"ARGOSY_HOME": str(two.homes["east"].root)}
            words = ["regions", "add", "west", shown["url"], "--token", token, "--fingerprint", fingerprint]
            command = [sys.executable, "-m", "argosy", *words]
            return subprocess.run(command, env=environ, capture_output=True, text=True, check=False)

        assert shown["url"].startswith("https://")
        refused = add("00" * 32)
        assert refused.returncode != 0
        assert "another certificate" in refused.stderr
        assert two.up["east"].call("GET", "/v1/regions")[0]["name"] == "east"
        added = add(shown["fingerprint"])
        assert added.returncode == 0, added.stderr
        declared = {"model": "digits:1", "regions": ["east", "west"]}
        key = two.up["east"].call("PUT", "/v1/endpoints/digits", declared, wait=60)["key"]
        until(lambda: two.serving("west", "digits:1"))
        assert two.answers("west", key) == 3.0


@pytest.mark.slow
async def test_requests_of_a_region_whose_replica_dies_are_answered_by_the_other(both: Regions):
    both.add()
    declared = {"model": "digits:1", "regions": ["east", "west"]}
    key = both.up["east"].call("PUT", "/v1/endpoints/digits", declared, wait=60)["key"]
    until(lambda: both.serving("west", "digits:1"))
    east, west = (f"{both.up[each].call('GET', '/v1/status')['gateway']}/v2/models/digits/infer" for each in both.up)
    await knows_its_peer(both, "east")
    async with Load(east, key) as load:
        await load.more()
        for pid in both.up["east"].pids():
            os.kill(pid, signal.SIGKILL)
        await elsewhere(both.homes["east"].logs / "gateway.access.log")
        await load.more()
    assert load.bad == []
    assert load.answers == {3.0}
    async with Load(west, key) as there:
        await there.more()
    assert there.bad == []


async def knows_its_peer(both: Regions, region: str) -> None:
    """Wait until a gateway has a peer that is well."""
    admin = Admin(Address(path=str(both.homes[region].gateway / "admin.sock")))
    async with asyncio.timeout(PATIENCE):
        while max((await admin.stats("@peers/http/.*membership_healthy$")).values(), default=0) < 1:
            await asyncio.sleep(0.05)


async def elsewhere(log: Path) -> None:
    """Wait for an answer by the other region."""
    async with asyncio.timeout(PATIENCE):
        while b'"region":"west"' not in log.read_bytes():
            await asyncio.sleep(0.05)
