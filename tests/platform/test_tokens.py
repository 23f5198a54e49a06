"""Tokens of a language model on a platform: counted and limited also while the controller is dead, and shown."""

import json
import os
import subprocess
import sys
from pathlib import Path

import httpx
import pytest

from argosy.control.recording import quota
from argosy.process.process import end
from tests.language.packages import fake_package, manifest
from tests.platform.up import until
from tests.store.samples import model_lineage

MESSAGES = [{"role": "user", "content": "x" * 200}]


@pytest.fixture
def gemma(store, home, monkeypatch):
    """A version whose engine is the fake one."""
    monkeypatch.setenv("ARGOSY_VLLM_PYTHON", str(Path(__file__).parents[1] / "fake_vllm"))
    monkeypatch.setenv("PATH", f"{Path(sys.executable).parent}:{os.environ['PATH']}")
    folder = fake_package(home.root / "package")
    (folder / "weights" / "none").write_text("none")
    return store.add(folder, name="gemma", manifest=manifest("gemma"), lineage=model_lineage()).ref


def command(home, *words):
    """What `argosy` prints."""
    environ = {"ARGOSY_HOME": str(home.root)}
    done = subprocess.run(
        [sys.executable, "-m", "argosy", *words], env=environ, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.slow
def test_tokens_are_counted_limited_and_shown(gemma, home, start):
    platform = start().ready()
    declared = {
        "model": gemma,
        "runtime": {"threads": 1},
        "language": {"context": 512},
        "price": {"input": 1.0, "output": 2.0, "currency": "EUR"},
        "keys": [{"name": "team-a", "limits": {"tokens_per_month": 5000}}],
    }
    made = platform.call("PUT", "/v1/endpoints/gemma", declared)
    text = made["keys"][0]["key"]
    until(lambda: platform.call("GET", "/v1/endpoints/gemma")["ready"] == 1)
    gateway = platform.call("GET", "/v1/status")["gateway"]

    def chat(key=text, **fields):
        body = {"model": "gemma", "messages": MESSAGES, "max_tokens": 10, **fields}
        return httpx.post(f"{gateway}/v1/chat/completions", json=body, headers={"x-api-key": key}, timeout=60)

    def row(by="key,endpoint,version"):
        found = json.loads(command(home, "usage", "--by", by, "--json"))
        return next((each for each in found if each["name"] == "team-a"), None)

    first = until(lambda: (answer := chat()).status_code == 200 and answer)
    assert first.headers["x-ratelimit-limit-tokens"] == "5000"
    each = first.json()["usage"]
    until(lambda: (found := row()) and found["requests"] == 1)
    found = row()
    assert (found["endpoint"], found["version"]) == ("gemma", "1")
    assert (found["input"], found["output"]) == (each["prompt_tokens"], each["completion_tokens"])
    assert found["money"] == pytest.approx((found["input"] + 2 * found["output"]) / 1e6)
    assert found["currency"] == "EUR"

    platform.kill()
    assert chat().status_code == 200, "leases are given while there is no controller"
    platform = start().ready()
    until(lambda: row()["requests"] == 2)
    end(quota(home).found(), 0)
    until(lambda: chat().status_code == 200)
    until(lambda: row()["requests"] >= 3)

    refused = until(lambda: (answer := chat(max_tokens=4950)).status_code == 429 and answer)
    assert refused.json()["error"]["code"] == "insufficient_quota"
    assert "5000 tokens a month" in refused.json()["error"]["message"]
    assert "retry-after" in refused.headers or refused.headers["x-should-retry"] == "false"

    listed = json.loads(command(home, "keys", "ls", "--json"))
    assert [each["limits"]["tokens_per_month"] for each in listed if each["name"] == "team-a"] == [5000]
    assert "5k tokens/month" in command(home, "keys", "ls")
    assert "team-a" in command(home, "usage")
    page = platform.ask("GET", "/metrics").text
    assert 'gen_ai_client_token_usage_total{endpoint="gemma",gen_ai_token_type="input",version="1"}' in page
    until(lambda: platform.call("GET", "/v1/live")["endpoints"]["gemma"]["tokens"] is not None)
    free = command(home, "keys", "create", "free", "--scope", "gemma", "--tokens-per-day", "20k").splitlines()[0]
    assert chat(free).status_code == 200
    assert platform.stop() == 0
    assert quota(home).found() == []
