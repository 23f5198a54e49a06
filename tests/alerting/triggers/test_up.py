"""Triggers on a running platform: declared by its API, told by it, killed with it."""

import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from argosy.alerting.triggers import command
from argosy.spec import strict
from argosy.spec.settings import Home
from argosy.store import findings
from argosy.store.findings import Finding
from argosy.store.store import Store
from tests.platform.up import STAND_IN_UP, Up, until
from tests.store.samples import model_lineage, model_manifest, write_folder

CODE = """
import os, time
open("began", "a").write("x")
while not os.path.exists("go"):
    time.sleep(0.01)
"""


def packaged(home: Home, store: Store) -> str:
    """A package with a manifest that can be read, for a stand-in to serve."""
    folder, manifest = write_folder(home.root / "package"), model_manifest()
    (folder / "behaviour").write_text("ok")
    (folder / "model.yaml").write_text(strict.dump_yaml(manifest))
    return store.add(folder, name="digits", manifest=manifest, lineage=model_lineage()).ref


def declared(package: str) -> dict:
    retrain = {"kind": "command", "argv": [sys.executable, "-c", CODE]}
    return {
        "model": package,
        "payload": {},
        "monitor": {},
        "triggers": [{"name": "retrain", "when": "realised_drop", "metric": "auroc", "against": 0.8, "run": retrain}],
    }


def bad(end: float) -> Finding:
    return Finding(
        endpoint="digits",
        version="1",
        kind="realised",
        subject="auroc",
        at=end,
        window_start=end - 10,
        window_end=end,
        rows=2000,
        effect=0.6,
        detail={"maturity": 1.0},
    )


@pytest.mark.slow
def test_a_trigger_outlives_a_kill_of_the_platform_and_ends_with_it(home: Home, store: Store, start: Callable[..., Up]):
    package = packaged(home, store)
    platform = start(STAND_IN_UP).ready()

    def asked() -> dict:
        return platform.call("GET", "/v1/endpoints/digits/triggers")

    platform.call("PUT", "/v1/endpoints/digits", declared(package), wait=30)
    assert [(one["name"], one["runs"], one["bad"]) for one in asked()["triggers"]] == [("retrain", "command", 0)]
    until(lambda: ("digits", "retrain") in kept(store))
    findings.write(store.database, [bad(4e9)])
    until(lambda: [one["phase"] for one in asked()["runs"]] == ["running"])
    place = command.folder(home, "digits/retrain@4000000000")
    until((place / "began").exists)
    platform.kill()
    platform = start(STAND_IN_UP).ready()
    until(lambda: [one["phase"] for one in asked()["runs"]] == ["running"])
    (place / "go").touch()
    until(lambda: [one["phase"] for one in asked()["runs"]] == ["done"])
    (run,) = asked()["runs"]
    assert (run["status"], run["tries"], (place / "began").read_text()) == (0, 1, "x")
    assert asked()["triggers"][0]["fired"] == run["at"]
    assert platform.ask("GET", "/v1/endpoints/nothing/triggers").status_code == 404


def kept(store: Store) -> dict:
    from argosy.alerting.triggers.policy import STATES

    return STATES.all(store.database)


@pytest.mark.slow
def test_what_a_trigger_runs_ends_with_the_platform(home: Home, store: Store, start: Callable[..., Up]):
    package = packaged(home, store)
    platform = start(STAND_IN_UP).ready()
    platform.call("PUT", "/v1/endpoints/digits", declared(package), wait=30)
    until(lambda: ("digits", "retrain") in kept(store))
    findings.write(store.database, [bad(4e9)])
    place: Path = command.folder(home, "digits/retrain@4000000000")
    until((place / "began").exists)
    platform.stop()
    assert command.end(home) == 0
    assert not (place / "end.json").exists()
