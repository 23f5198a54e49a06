"""Drift of what a language model is asked: against what came before, since its package has no sample of it."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from argosy.alerting.incidents import Incidents
from argosy.control.revision import revision_of
from argosy.control.state import State
from argosy.monitoring.drift.monitor import LATE, DriftMonitor
from argosy.monitoring.recorder.intake import Sent, rows
from argosy.monitoring.recorder.writer import VersionBuffer
from argosy.packaging.package import open_package
from argosy.profiles import files
from argosy.spec.endpoint import Endpoint
from argosy.spec.monitor import Monitor
from argosy.spec.payload import PayloadLog
from argosy.spec.recorder import RecordedEndpoint
from argosy.spec.settings import Home, Settings
from argosy.store import findings, open_store
from argosy.store.store import Store
from tests.language.packages import fake_package
from tests.monitoring.drift.world import EVERY, START
from tests.store.samples import model_lineage

ENGLISH, GERMAN = (
    "What is the capital of this country, and why is it not",
    "Was ist die Hauptstadt und warum ist sie das nicht",
)


class Prompts:
    """Hours of requests to a language model, recorded and looked at."""

    def __init__(self, root: Path) -> None:
        self.home = Home(root / "h").create()
        self.store: Store = open_store(self.home, Settings())
        self.package = fake_package(root / "package")
        (self.package / "weights" / "w").write_text("w")
        manifest = open_package(self.package).manifest
        version = self.store.add(self.package, name="m", manifest=manifest, lineage=model_lineage())
        endpoint = Endpoint(name="m", model="m:1", monitor=Monitor(segments=("language",)))
        self.state = State(self.store.database)
        self.state.declare(endpoint, revision_of(endpoint, version))
        self.now, self.hour = START, 0
        self.incidents = Incidents(self.store.database, {}, self.state.names, clock=lambda: self.now)
        self.monitor = DriftMonitor(self.store, self.state, self.incidents.report, EVERY, clock=lambda: self.now)

    def pass_hour(self, text: str = ENGLISH, tokens: int = 20, answer: int = 30, gone: int = 0) -> None:
        """300 more requests, of which some were left."""
        declared, at = RecordedEndpoint(payload=PayloadLog()), START + self.hour * EVERY + 60
        buffer = VersionBuffer("m", "1", self.package, declared, b"")
        sent = [
            Sent(
                request_id=f"{self.hour}-{number}",
                endpoint="m",
                version="1",
                replica="r",
                status=200,
                flags="DC" if number < gone else "",
                time=str(at + number),
                tokens={"input": tokens + number % 7, "output": answer + number % 9, "finish": "stop"},
                payload={"kind": "prompt", "prompt": f'"{text}{" and more" * (number % 5)}"', "1": "w0 w1"},
            )
            for number in range(300)
        ]
        for _, _, replica, some in rows(sent, {"m": PayloadLog()}):
            buffer.take(replica, some)
        self.hour += 1
        self.now = START + self.hour * EVERY + LATE + 1
        files.write(self.home.profiles, "m", buffer.profiles(self.now))
        self.monitor.turn()

    def drifted(self) -> set[str]:
        """What has drifted in the last hour."""
        found = findings.read(self.store.database, "m", ["drift", "prediction"], 0)
        end = START + self.hour * EVERY
        return {one.subject for one in found if one.window_end == end and one.verdict == "drift"}


@pytest.fixture
def prompts(tmp_path: Path) -> Iterator[Prompts]:
    found = Prompts(tmp_path)
    yield found
    found.store.close()


def test_prompts_in_another_language_and_longer_ones_drift_and_others_do_not(prompts: Prompts):
    for _ in range(3):
        prompts.pass_hour()
    assert prompts.drifted() == set()
    prompts.pass_hour(GERMAN)
    assert prompts.drifted() == {"language"}
    prompts.pass_hour(GERMAN, tokens=200)
    assert "input.tokens" in prompts.drifted()


def test_answers_that_become_shorter_drift_and_those_that_were_left_do_not_count(prompts: Prompts):
    for _ in range(2):
        prompts.pass_hour()
    prompts.pass_hour(gone=200)
    assert prompts.drifted() == set()
    prompts.pass_hour(answer=3)
    assert prompts.drifted() == {"output.tokens"}
