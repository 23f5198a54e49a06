"""`argosy rollout`: what it draws."""

from io import StringIO

import pytest
from rich.console import Console

from argosy.api.rollout_status import rollout_status
from argosy.cli.main import argosy
from argosy.cli.picture import rollout_picture
from argosy.control.rollout.evidence import Evidence
from argosy.control.rollout.table import RolloutRow
from argosy.monitoring.analysis import agreement, guard
from argosy.monitoring.analysis.agreement import PerOutput, Tally
from argosy.monitoring.analysis.evidence import GuardObservation, start
from argosy.monitoring.eprocess import interval
from argosy.serving.counts import Counts
from argosy.spec.endpoint import Endpoint
from argosy.spec.guard import Guard
from argosy.spec.revision import Revision
from argosy.spec.rollout import Rollout, Shadow
from argosy.store.endpoints import Progress


def drawn(progress: Progress, evidence: Evidence, shadow: Shadow | None = None) -> str:
    import msgspec

    endpoint = Endpoint(name="digits", model="m:2", rollout=Rollout(strategy="canary", shadow=shadow), guard=Guard())
    revisions = {
        each: Revision(id=each, endpoint="digits", model="m", version=version, digest="sha256:0")
        for each, version in (("a", "1"), ("b", "2"))
    }
    row = RolloutRow(endpoint="digits", progress=progress, evidence=evidence, changes=0, began="2026")
    told = msgspec.json.encode(rollout_status(endpoint, row, revisions))
    out = StringIO()
    Console(file=out, width=200).print(rollout_picture(msgspec.json.decode(told)))
    return out.getvalue()


def test_it_draws_shares_findings_and_the_verdict():
    seen = GuardObservation(
        seconds=1.0, candidate=Counts(requests=50, errors=20), stable=Counts(requests=900, latency={60: 900})
    )
    decision, state = guard.decide(Guard(), seen, start(history=Counts(requests=1000)))
    evidence = Evidence(state=state, verdict=decision.verdict, reason=decision.reason, limit=decision.limit)
    progress = Progress(number=3, candidate="b", stable="a", held=1, phase="shifting", weight=5, paused=True)
    text = drawn(progress, evidence)
    assert "digits rollout 3 (canary, step 1 of 3 for 0 s): paused" in text
    assert "m:1  95 %" in text
    assert "5 % m:2  50 requests" in text
    assert "guard: rollback: errors got worse" in text
    assert "■■■■■■■■■■" in text
    assert "no latency yet" in text


@pytest.mark.parametrize("name", ["status", "watch", "pause", "resume", "promote", "abort", "undo"])
def test_every_command_is_there(name: str, capsys: pytest.CaptureFixture[str]):
    with pytest.raises(SystemExit) as end:
        argosy.main(["rollout", name, "--help"])
    assert end.value.code == 0
    assert f"argosy rollout {name} digits" in capsys.readouterr().out


def test_it_draws_the_comparison_of_a_shadow():
    output = PerOutput(compared=400, disagreed=20, largest=0.5, total=4.0, numbers=400)
    found = Tally(
        compared=400,
        disagreed=22,
        candidate_failed=2,
        unmatched=(3, 0),
        outputs={"y": output},
        latency=({60: 400}, {70: 398}),
        examples=(("id-1", "output 'y'"),),
    )
    shadow = Shadow(requests=800, share=0.5)
    compared = agreement.decide(shadow, found, 9.0, 0.01, 60.0)
    progress = Progress(number=1, candidate="b", stable="a", held=1, phase="shadowing", reason=compared.reason)
    text = drawn(progress, Evidence(shadow=found, compared=compared), shadow)
    assert "digits rollout 1 (canary): shadowing" in text
    assert "██████████░░░░░░░░░░ 400 of 800 answers compared, 0.5 of the requests; 3 without the other's" in text
    low, high = interval(378, 400, 0.0025)
    assert f"agreement 94.50% ({low:.2%} to {high:.2%})" in text
    assert "needed 99.00%; failed: candidate 2, stable 0; latency p50" in text
    assert "y       95.00%  0.5                 0.01" in text
    assert "disagree: id-1 (output 'y')" in text
    assert text.count("shadow: rollback: 94.50% of 400 answers agree, surely fewer than 99.00%") == 1
