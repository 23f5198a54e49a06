"""A batch job in the slots that an endpoint leaves idle, on a platform: submitted by the command line, counted."""

import json

import httpx
import pyarrow.parquet as pq
import pytest

from argosy.jobs import runner
from tests.platform.streams import CHAT
from tests.platform.test_language import SPEC, faked
from tests.platform.test_tokens import command
from tests.platform.up import until
from tests.programs import cut_off

__all__ = ["faked"]
ROWS = 40


@pytest.mark.slow
def test_a_job_is_answered_by_an_endpoint_beside_its_callers_and_pays_for_its_slots(faked, home, start):
    home.config.write_text("control: {port: 0}\ngateway: {port: 0}\nreplicas: {network: tls}\ncost: {core: 3600}\n")
    asked = {"messages": [{"role": "user", "content": "x"}], "max_tokens": 8, "fake": {"each": 0.1}}
    source, out = home.root / "in.jsonl", home.root / "out"
    source.write_text("".join(json.dumps(asked) + "\n" for _ in range(ROWS)))
    platform = start().ready()
    words = ["batch", "submit", faked, "--input", str(source), "-o", str(out), "--name", "night", "--idle", "m"]
    command(home, *words)
    waits = until(lambda: (found := platform.call("GET", "/v1/jobs/night")["runs"][0]["idle"]) and found)
    assert (waits["running"], waits["reason"]) == (0, "no replica of m that is ready has this package")
    url = platform.call("PUT", "/v1/endpoints/m", {"model": faked, **SPEC}, wait=60)["url"]
    until(lambda: platform.call("GET", "/v1/jobs/night")["runs"][0]["idle"]["seconds"] > 0)
    assert httpx.post(f"{url}/chat/completions", json=CHAT, timeout=60).status_code == 200
    job = runner.processes(home)["night-1"]
    cut_off(job)
    until(lambda: platform.call("GET", "/v1/jobs/night")["state"] == "succeeded")
    (run,) = platform.call("GET", "/v1/jobs/night")["runs"]
    assert (run["attempts"], run["progress"]["rows"]) == (2, ROWS)
    answers = [row["answer"] for path in out.glob("*.parquet") for row in pq.read_table(path).to_pylist()]
    assert answers == [" ".join(f"w{n}" for n in range(8))] * ROWS

    def paid():
        rows = json.loads(command(home, "cost", "--by", "endpoint,use", "--json"))["rows"]
        return {(row["endpoint"], row["use"]): row["seconds"] for row in rows}

    assert until(lambda: (found := paid()).get(("batch/night", "batch")) and found)[("m", "idle")] > 0
    assert "m" in command(home, "batch", "status", "night")
    assert platform.stop() == 0


@pytest.mark.slow
def test_a_job_that_would_be_late_in_idle_slots_goes_on_with_an_engine_of_its_own(faked, home, start):
    source, out = home.root / "in.jsonl", home.root / "out"
    source.write_text(json.dumps(CHAT | {"stream": False}) + "\n")
    platform = start().ready()
    words = ["batch", "submit", faked, "--input", str(source), "-o", str(out), "--name", "night", "--idle", "m"]
    command(home, *words, "--deadline", "36")
    until(lambda: platform.call("GET", "/v1/jobs/night")["state"] == "succeeded")
    (run,) = platform.call("GET", "/v1/jobs/night")["runs"]
    assert (run["attempts"], run["progress"]["rows"]) == (1, 1)
    assert not json.loads((home.root / "jobs" / "night-1" / "job.json").read_text())["slots"]
    assert platform.stop() == 0
