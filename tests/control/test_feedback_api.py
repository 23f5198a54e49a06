"""Labels through the control API's real listener."""

import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from argosy.control import strays
from argosy.monitoring.feedback import intake
from argosy.monitoring.feedback.shelf import Shelf
from argosy.spec.settings import Home, Settings
from argosy.store import open_store
from tests.control.conftest import Up
from tests.store.samples import FILES, model_lineage, model_manifest, write_folder

STAND_IN_UP = [sys.executable, str(Path(__file__).with_name("stand_in_up.py"))]
PATH = "/v2/models/digits/feedback"


@pytest.fixture(scope="module")
def platform(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Up]:
    home = Home(tmp_path_factory.mktemp("h")).create()
    home.config.write_text("control: {port: 0}\ngateway: {port: 0}\n")
    store = open_store(home, Settings())
    folder = write_folder(home.root / "p", FILES | {"behaviour": b"ok"})
    store.add(folder, name="digits", manifest=model_manifest(), lineage=model_lineage())
    store.close()
    up = Up(home, STAND_IN_UP).ready()
    up.ask("PUT", "/v1/endpoints/digits", json={"model": "digits:1"}).raise_for_status()
    yield up
    up.stop()
    strays.end([*strays.gateways(home), *strays.replicas(home)[0]], drain=0.0)


def test_labels_are_kept_and_what_cannot_be_right_is_told(platform: Up):
    labels = [
        {"request_id": "a", "label": 1},
        {"request_id": "b", "label": "cat", "row": 3, "time": "2026-01-31T12:00", "source": "clerk"},
        {"request_id": "c", "label": 1, "time": time.time() + 9999},
    ]
    answer = platform.ask("POST", PATH, json={"labels": labels})
    assert answer.status_code == 200
    assert answer.json()["taken"] == 2
    assert [one["index"] for one in answer.json()["refused"]] == [2]
    shelf = Shelf(platform.home.feedback, "digits")
    assert intake.seal(shelf) == 2
    assert len(shelf.label_files()) == 1


@pytest.mark.parametrize(
    ("path", "body", "status"),
    [
        (PATH, {"labels": []}, 400),
        (PATH, {"labels": [{"request_id": "a"}]}, 400),
        (PATH, {"labels": [{"request_id": "a", "label": 1, "colour": 2}]}, 400),
        (PATH, {"labels": [{"request_id": "a", "label": 1}] * 10_001}, 400),
        ("/v2/models/none/feedback", {"labels": [{"request_id": "a", "label": 1}]}, 404),
        ("/v2/models/..%2f..%2fx/feedback", {"labels": [{"request_id": "a", "label": 1}]}, 404),
    ],
)
def test_what_is_wrong(platform: Up, path: str, body: dict, status: int):
    assert platform.ask("POST", path, json=body).status_code == status
    assert not (platform.home.feedback / "endpoint=none").exists()
