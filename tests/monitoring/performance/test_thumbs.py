"""Thumbs of a language model: a rate by version, by whichever id of the answer they come."""

from pathlib import Path

from argosy.monitoring.feedback import intake
from argosy.monitoring.feedback.event import Label, accept
from argosy.monitoring.feedback.folder import LabelFolder
from argosy.monitoring.performance.evaluate import evaluate
from argosy.monitoring.performance.state import EvaluationJob, Version
from argosy.monitoring.recorder.intake import Sent, rows
from argosy.monitoring.recorder.writer import VersionBuffer, Writer
from argosy.spec.monitor import Monitor
from argosy.spec.payload import PayloadLog
from argosy.spec.recorder import RecordedEndpoint, RecorderReport
from argosy.spec.settings import Home
from tests.language.packages import fake_package
from tests.monitoring.drift.world import START


def test_the_share_of_thumbs_up_is_evaluated(tmp_path: Path):
    home, package, log = Home(tmp_path / "h").create(), fake_package(tmp_path / "p"), PayloadLog()
    report = RecorderReport(pid=1, started=0)
    buffer = VersionBuffer("m", "1", package, RecordedEndpoint(payload=log), b"")
    asked = [
        Sent(
            request_id=f"ours-{number}",
            endpoint="m",
            version="1",
            replica="r",
            status=200 if number < 380 else 500,
            time=str(START + number),
            payload={"kind": "prompt", "prompt": '"What is it"', "1": "x", "id": f"chatcmpl-{number}"},
        )
        for number in range(400)
    ]
    for *_, replica, some in rows(asked, {"m": log}):
        buffer.take(replica, some)
    Writer(home, report).write(buffer, buffer.waiting())
    thumbs = [
        Label(request_id=f"chatcmpl-{number}" if number % 2 else f"ours-{number}", label=number % 10 > 2, time=START)
        for number in range(200)
    ]
    intake.append(LabelFolder(home.feedback, "m"), accept(thumbs, START + 600).labels)
    now = START + 7200
    version = Version(number="1", digest="sha256:1", package=str(package))
    done = evaluate(
        EvaluationJob(
            home=str(home.root), endpoint="m", monitor=Monitor(), log=log, now=now, end=now, versions=(version,)
        )
    )
    (found,) = [each for each in done.findings if each.kind == "realised"]
    assert (report.records, report.problem, found.subject, found.rows) == (400, "", "accuracy", 200)
    assert found.effect == 0.7
    assert found.detail["served"] == 380
