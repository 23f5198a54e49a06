"""`argosy rollout`: what it draws."""

from io import StringIO

import pytest
from rich.console import Console

from argosy.cli.main import argosy
from argosy.cli.rollout_picture import picture
from argosy.control.evidence import Evidence
from argosy.control.rollout import Progress
from argosy.control.rollout_status import rollout_status
from argosy.monitoring import guard
from argosy.monitoring.evidence import Observation, start
from argosy.serving.counts import Counts
from argosy.spec.endpoint import Endpoint
from argosy.spec.guard import Guard
from argosy.spec.rollout import Rollout
from argosy.targets.base import Revision


def drawn(progress: Progress, evidence: Evidence) -> str:
    import msgspec

    endpoint = Endpoint(name="digits", model="m:2", rollout=Rollout(strategy="canary"), guard=Guard())
    revisions = {
        each: Revision(id=each, endpoint="digits", model="m", version=version, digest="sha256:0")
        for each, version in (("a", "1"), ("b", "2"))
    }
    told = msgspec.json.encode(rollout_status(endpoint, progress, evidence, revisions, ("2026", None)))
    out = StringIO()
    Console(file=out, width=200).print(picture(msgspec.json.decode(told)))
    return out.getvalue()


def test_it_draws_shares_findings_and_the_verdict():
    seen = Observation(
        seconds=1.0, candidate=Counts(requests=50, errors=20), stable=Counts(requests=900, latency={60: 900})
    )
    decision, state = guard.judge(Guard(), seen, start(history=Counts(requests=1000)))
    evidence = Evidence(state=state, verdict=decision.verdict, reason=decision.reason, limit=decision.limit)
    progress = Progress(number=3, candidate="b", stable="a", held=1, phase="shifting", weight=5, paused=True)
    text = drawn(progress, evidence)
    assert "digits rollout 3 (canary, step 1 of 3 for 0 s): paused" in text
    assert "m:1  95 %" in text
    assert "5 % m:2  50 requests" in text
    assert "guard: rollback: errors got worse" in text
    assert "■■■■■■■■■■" in text
    assert "no latencies yet" in text


@pytest.mark.parametrize("name", ["status", "watch", "pause", "resume", "promote", "abort", "undo"])
def test_every_command_is_there(name: str, capsys: pytest.CaptureFixture[str]):
    with pytest.raises(SystemExit) as end:
        argosy.main(["rollout", name, "--help"])
    assert end.value.code == 0
    assert f"argosy rollout {name} digits" in capsys.readouterr().out
