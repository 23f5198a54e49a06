"""`argosy top`: what it draws at 80 columns, one look, and how it ends."""

import io
import json
import os
import pty
from typing import Any

import pytest
from rich.console import Console

from argosy.cli import top
from argosy.cli.main import argosy
from argosy.cli.picture import TopView, top_picture

ENDPOINT = {"name": "digits", "state": "ready", "serving": "digits:1", "ready": 2, "replicas": 2}
ROLLOUT = {
    "endpoint": "a-name-of-many-letters-that-fills-the-whole-screen-by-itself-alone",
    "stable": "digits:1",
    "candidate": "digits:2",
    "weight": 5,
    "phase": "shifting",
    "paused": False,
    "live": True,
    "guarded": True,
    "verdict": "hold",
}
ALERT = {
    "severity": "page",
    "state": "firing",
    "endpoint": "digits",
    "kind": "slo",
    "subject": "availability",
    "text": "2 % of requests were bad " * 9,
}
RATES = {"requests": 1234.5, "errors": 12.3, "p50": 0.4, "p95": 2345.6}


def seen(**more: Any) -> TopView:
    many = [ENDPOINT | {"name": "x" * 63, "state": "failed", "serving": "m" * 63 + ":1"}, ENDPOINT]
    loads = [{"endpoint": "digits", "cpu": 1.26, "memory": 3 << 30}] * 2
    given: dict[str, Any] = {"endpoints": many, "rates": {"digits": RATES}, "loads": loads, "at": "12:00:00"}
    return TopView(**(given | {"rollouts": [ROLLOUT], "alerts": [ALERT]} | more))


def drawn(found: TopView, rows: int = 100) -> list[str]:
    out = io.StringIO()
    Console(file=out, width=80).print(top_picture(found, rows))
    return out.getvalue().splitlines()


def test_it_fits_eighty_columns_whatever_the_names():
    lines = drawn(seen())
    assert max(map(len, lines)) <= 80
    (row,) = [line for line in lines if line.startswith("● digits")]
    for cell in ("2/2", "1,234", "1.00 %", "< 1 ms", "2.35 s", "2.52", "6.0 GiB"):
        assert cell in row


def test_what_needs_a_look_comes_first_and_what_does_not_fit_is_counted():
    assert drawn(seen())[2].startswith("● xxx")
    assert "… and 1 more: make the window taller" in drawn(seen(), rows=1)


def test_an_endpoint_without_traffic_has_no_latency():
    (row,) = [line for line in drawn(seen(rates={})) if line.startswith("● digits")]
    assert row.split()[4:8] == ["0", "–", "–", "–"]


def test_a_rollout_says_how_far_it_is():
    found = drawn(seen(rollouts=[ROLLOUT | {"endpoint": "digits"}]))
    assert any("digits:1 95 % ████████████████████ 5 % digits:2  shifting, guard: hold" in line for line in found)
    paused = drawn(seen(rollouts=[ROLLOUT | {"endpoint": "digits", "paused": True, "guarded": False}]))
    assert any(line.endswith("paused") for line in paused)


class Api:
    """The control API of a platform on which nothing is wrong."""

    def endpoints(self) -> list[dict[str, Any]]:
        return [ENDPOINT | {"state": "updating"}]

    def get(self, path: str, **query: Any) -> Any:
        if path == "/v1/live":
            return {"endpoints": {"digits": RATES}, "replicas": []}
        if path.endswith("/rollout"):
            return ROLLOUT
        if path == "/v1/costs":
            return {"rows": [{"endpoint": "digits", "per_request": 0.0025}]}
        assert path == "/v1/alerts"
        return []


def test_one_look_for_scripts(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]):
    monkeypatch.setattr(top, "control", Api)
    for words in (["top", "--once"], ["top"]):
        with pytest.raises(SystemExit) as end:
            argosy.main(words)
        assert end.value.code == 0
        assert "digits:1" in capsys.readouterr().out
    with pytest.raises(SystemExit):
        argosy.main(["top", "--json"])
    found = json.loads(capsys.readouterr().out)
    assert (found["rates"]["digits"], len(found["rollouts"]), found["alerts"]) == (RATES, 1, [])


def test_the_pace_must_make_sense(capsys: pytest.CaptureFixture[str]):
    with pytest.raises(SystemExit) as end:
        argosy.main(["top", "--every", "0"])
    assert end.value.code != 0
    assert "--every must be 0.2" in capsys.readouterr().err


def test_q_leaves_and_other_keys_do_not(monkeypatch: pytest.MonkeyPatch):
    ours, theirs = pty.openpty()
    with os.fdopen(theirs, "r") as keyboard:
        monkeypatch.setattr("sys.stdin", keyboard)
        with top._keys():
            os.write(ours, b"x")
            assert not top._asked_to_leave(0.1)
            os.write(ours, b"xq")
            assert top._asked_to_leave(30)
    os.close(ours)


def test_tokens_a_second_are_shown_where_there_are_language_models():
    assert not any("tokens/s" in line for line in drawn(seen()))
    lines = drawn(seen(rates={"digits": RATES | {"tokens": 432.1}}))
    assert any("tokens/s" in line for line in lines)
    assert any("432" in line for line in lines)
    assert max(map(len, lines)) <= 80


def test_what_a_request_costs_is_shown_where_there_are_prices():
    assert not any("$/request" in line for line in drawn(seen()))
    found = drawn(seen(costs={"digits": {"endpoint": "digits", "per_request": 0.0025}}))
    assert any("$/request" in line for line in found)
    assert any("0.0025" in line for line in found)
