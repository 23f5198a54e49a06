"""Prompts and answers of a language model on a platform: recorded, redacted, judged by thumbs."""

import contextlib
import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import pytest

from argosy.profiles import files
from argosy.spec.settings import Home
from argosy.store.payloads.query import Query, read
from tests.platform.test_language import CHAT, SPEC, faked
from tests.platform.up import Up, until

__all__ = ["faked"]
LOG: dict[str, Any] = {"flush": 0.2, "redact": ["$.messages[*].name"]}
SAID = "Please write to ada@example.org about the card 4111 1111 1111 1111 and that."


def logged(home: Home, count: int) -> list[dict[str, Any]]:
    """The rows of the log, once there are so many."""

    def found() -> list[dict[str, Any]]:
        try:
            return read(home.payloads, Query(endpoint="m")).table.to_pylist()
        except Exception:
            return []

    return until(lambda: rows if len(rows := found()) >= count else None)


@pytest.mark.slow
def test_what_is_asked_and_answered_is_recorded_without_secrets(faked: str, home: Home, start: Callable[..., Up]):
    platform = start().ready()
    spec = {"model": faked, **SPEC, "payload": LOG, "monitor": {"every": 10}}
    url = platform.call("PUT", "/v1/endpoints/m", spec, wait=60)["url"]
    body = CHAT | {"messages": [{"role": "user", "name": "Ada", "content": SAID}], "max_tokens": 4}
    answers = [httpx.post(f"{url}/chat/completions", json=body) for _ in range(3)]
    with httpx.stream("POST", f"{url}/chat/completions", json=body | {"stream": True, "fake": {"each": 10.0}}) as left:
        next(left.iter_lines())
    rows = logged(home, 4)
    assert [row["code"] for row in rows] == [200, 200, 200, 499]
    assert [row["request_id"] for row in rows[:3]] == [each.headers["x-request-id"] for each in answers]
    assert [row["output.id"] for row in rows[:3]] == [each.json()["id"] for each in answers]
    said = "Please write to [email] about the card [card] and that."
    assert json.loads(rows[0]["input.prompt"]) == [{"role": "user", "name": "[redacted]", "content": said}]
    assert (rows[0]["output.text"], rows[0]["output.finish"], rows[0]["output.tokens"]) == ("w0 w1 w2 w3", "length", 4)
    assert (rows[0]["input.characters"], rows[0]["input.language"], rows[0]["version"]) == (len(SAID), "en", "1")
    assert rows[3]["output.text"] == ""
    for folder, _, names in os.walk(home.root):
        for path in (Path(folder, name) for name in names):
            with contextlib.suppress(FileNotFoundError):  # of a platform that runs
                assert not path.is_file() or b"4111 1111 1111 1111" not in path.read_bytes(), path
    # Thumbs, by either id.
    labels = [
        {"request_id": answers[0].headers["x-request-id"], "label": True},
        {"request_id": answers[1].json()["id"], "label": False},
    ]
    assert platform.call("POST", "/v2/models/m/feedback", {"labels": labels})["taken"] == 2
    command = [sys.executable, "-m", "argosy", "feedback", "show", "m", "--json"]
    shown = subprocess.run(command, env={**os.environ, "ARGOSY_HOME": str(home.root)}, capture_output=True, check=True)
    (cohort,) = json.loads(shown.stdout)["cohorts"]
    assert (cohort["version"], cohort["served"], cohort["labelled"], cohort["accuracy"]) == ("1", 4, 2, 0.5)
    assert platform.stop() == 0
    assert files.versions(home.profiles, "m") == ["1"]
