"""A batch of requests on a platform that is killed in the middle: each line once, counted for the key that asked."""

import json

import httpx
import openai
import pytest

from tests.platform.test_tokens import command, gemma
from tests.platform.up import until

__all__ = ["gemma"]
LINES = 120


@pytest.mark.slow
def test_a_batch_goes_on_after_a_kill(gemma, home, start):
    platform = start().ready()
    declared = {"model": gemma, "runtime": {"threads": 1}, "language": {"context": 512}, "keys": [{"name": "team-a"}]}
    key = platform.call("PUT", "/v1/endpoints/gemma", declared)["keys"][0]["key"]
    until(lambda: platform.call("GET", "/v1/endpoints/gemma")["ready"] == 1)
    gateway = platform.call("GET", "/v1/status")["gateway"]
    body = {"model": "gemma", "messages": [{"role": "user", "content": "x"}], "max_tokens": 10, "fake": {"each": 0.03}}
    rows = [{"custom_id": f"r{n}", "method": "POST", "url": "/v1/chat/completions", "body": body} for n in range(LINES)]
    http = httpx.Client(trust_env=False)
    with openai.OpenAI(base_url=f"{gateway}/v1", api_key=key, http_client=http, max_retries=10) as ai:
        file = ai.files.create(file="\n".join(json.dumps(row) for row in rows).encode(), purpose="batch")
        batch = ai.batches.create(input_file_id=file.id, endpoint="/v1/chat/completions", completion_window="24h")
        for share in (0.2, 0.5):
            until(lambda share=share: ai.batches.retrieve(batch.id).request_counts.completed > share * LINES)
            platform.kill()
            platform = start().ready()
        done = until(lambda: (found := ai.batches.retrieve(batch.id)).status == "completed" and found)
        assert (done.request_counts.completed, done.request_counts.failed) == (LINES, 0)
        answers = [json.loads(each) for each in ai.files.content(done.output_file_id).text.splitlines()]
    assert sorted(each["custom_id"] for each in answers) == sorted(row["custom_id"] for row in rows)
    assert {each["response"]["status_code"] for each in answers} == {200}

    def used():
        found = json.loads(command(home, "usage", "--by", "key", "--json"))
        return next((each["requests"] for each in found if each["name"] == "team-a"), 0)

    until(lambda: used() >= LINES)
    assert platform.stop() == 0
