"""Labels through the control API's real listener."""

import time
from collections.abc import Iterator

import pytest

from argosy.monitoring.feedback import intake
from argosy.monitoring.feedback.folder import LabelFolder
from tests.platform.up import Up, stand_ins

PATH = "/v2/models/digits/feedback"
pytestmark = pytest.mark.xdist_group("feedback")  # one platform


@pytest.fixture(scope="module")
def platform(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Up]:
    with stand_ins(tmp_path_factory.mktemp("h")) as up:
        up.ask("PUT", "/v1/endpoints/digits", json={"model": "digits:1"}).raise_for_status()
        yield up


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
    folder = LabelFolder(platform.home.feedback, "digits")
    assert intake.seal(folder) == 2
    assert len(folder.label_files()) == 1


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
