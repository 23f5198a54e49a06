"""What the recorder is told, when it is started, and what a declaration may ask of it."""

from pathlib import Path
from typing import Any

import pytest

from argosy.control import recording
from argosy.control.recording import Recording, recorded
from argosy.spec.endpoint import Endpoint
from argosy.spec.errors import InvalidArgument
from argosy.spec.monitor import Monitor
from argosy.spec.payload import PayloadLog
from argosy.spec.recorder import RecordedEndpoint, RecorderConfig, config_file, recorder_config
from argosy.spec.settings import Home, PayloadSettings, Settings
from argosy.spec.signature import Signature, TensorSpec
from argosy.store.endpoints import Declared, Serving

SIGNATURE = Signature(
    inputs=(TensorSpec(name="x", datatype="FP32", shape=(-1, 2), columns=("age", "income")),),
    outputs=(TensorSpec(name="y", datatype="FP32", shape=(-1,)),),
)


class Spawned:
    """A process that ends when told."""

    def __init__(self) -> None:
        self.over = False

    def ended(self) -> bool:
        return self.over


@pytest.fixture
def started(monkeypatch: pytest.MonkeyPatch) -> list[Spawned]:
    found: list[Spawned] = []

    def spawn(command: list[str], environ: Any, log: Path) -> Spawned:
        assert command[1:5] == ["-P", "-m", "argosy.process.enter", "argosy.monitoring.recorder"]
        found.append(Spawned())
        return found[-1]

    monkeypatch.setattr(recording, "spawn", spawn)
    return found


@pytest.fixture
def home(tmp_path: Path) -> Home:
    return Home(tmp_path / "h").create()


def declared(payload: PayloadLog | None) -> list[Declared]:
    endpoint = Endpoint(name="shop", model="shop:1", payload=payload)
    return [Declared(endpoint=endpoint, revision="r", serving=Serving(), generation=1, created="", updated="")]


def test_nobody_who_does_not_ask_has_a_recorder(home: Home, started: list[Spawned]):
    Recording(home, Settings()).update(declared(None))
    assert not started
    assert not config_file(home).exists()


def test_it_is_told_what_is_wanted_and_started_until_it_stays(home: Home, started: list[Spawned]):
    made = Recording(home, Settings(payload=PayloadSettings(store="/bucket")))
    log = PayloadLog(sample=0.5)
    made.update(declared(log))
    assert recorder_config(home) == RecorderConfig(endpoints={"shop": RecordedEndpoint(payload=log)}, store="/bucket")
    before = config_file(home).stat().st_mtime_ns
    made.update(declared(log))
    assert config_file(home).stat().st_mtime_ns == before
    assert len(started) == 1
    started[0].over = True
    made.update(declared(log))
    assert len(started) == 2


def test_a_new_controller_takes_back_what_an_earlier_one_told(home: Home, started: list[Spawned]):
    Recording(home, Settings()).update(declared(PayloadLog()))
    Recording(home, Settings()).update(declared(None))
    assert recorder_config(home) == RecorderConfig()


@pytest.mark.parametrize("store", ["bucket", "ftp://bucket", "file://x"])
def test_an_object_store_that_nobody_knows_is_refused(store: str):
    with pytest.raises(InvalidArgument, match=r"payload\.store"):
        PayloadSettings(store=store)


def test_segments_are_passed_on_and_profiles_need_no_log():
    watched = Monitor(segments=("age",))
    assert recorded(Endpoint(name="s", model="s:1", monitor=watched)) == RecordedEndpoint(segments=("age",))
    both = Endpoint(name="s", model="s:1", monitor=watched, payload=PayloadLog(sample=0.5))
    assert recorded(both) == RecordedEndpoint(payload=PayloadLog(sample=0.5), segments=("age",))
    assert recorded(Endpoint(name="s", model="s:1")) is None
