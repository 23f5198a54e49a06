"""What the agent does with models for an update, and the model of an agent's folder in another program."""

import threading

import msgspec
import pytest

import argosy_edge
from argosy_edge.errors import BadPackage, NotFound
from argosy_edge.server import DeviceServer
from argosy_edge.serving import Serving, version_of
from argosy_edge.slots import Slots
from argosy_edge.state import Content, Died, State
from argosy_edge.wire import Envelope, Trial, Update
from tests.distributions.edge.packages import ROWS, classifier


@pytest.fixture(scope="module")
def updates(tmp_path_factory):
    """Version → folder and update: two of one model, one of which has another order of classes."""
    place = tmp_path_factory.mktemp("packages")
    manifests = {"1": classifier(place / "1"), "2": classifier(place / "2", order=(2, 0, 1))}
    return {
        version: (
            Update(
                fleet="f",
                index=int(version),
                ref=f"model:{version}",
                package="sha256:" + version * 64,
                files=(),
                manifest=manifest,
                trial=Trial(rows=4),
            ),
            place / version,
        )
        for version, manifest in manifests.items()
    }


@pytest.fixture
def serving():
    found = Serving(DeviceServer(0))
    yield found
    found.release()
    found.server.stop()


def test_an_update_is_tried_beside_the_model_and_then_served(serving, updates):
    serving.switch(*updates["1"])
    assert serving.look() is None
    serving.load(*updates["2"])
    before = serving.server.ask({"x": ROWS[:1]})[1]["label"]
    while not serving._candidate.idle:
        threading.Event().wait(0.01)
    looked = serving.look()
    assert (looked.quality.compared, looked.quality.agreed, looked.alone) == (1, 0, False)
    assert looked.seconds > 0
    serving.switch(*updates["2"])
    assert serving.look() is None
    answered, outputs = serving.server.ask({"x": ROWS[:1]})
    assert answered.version == "2"
    assert outputs["label"] != before


@pytest.mark.slow
def test_a_candidate_is_let_go_and_one_that_ended_is_told_of(serving, updates):
    serving.selftest(*updates["1"])
    serving.load(*updates["1"])
    assert serving.look().alone
    assert serving.release()
    assert not serving.release()
    serving.load(*updates["1"])
    serving._candidate._process.kill()
    while not isinstance(found := serving.look(), Died):
        threading.Event().wait(0.01)
    assert "killed" in found.why
    assert not serving.release()


def test_a_package_that_cannot_be_served_leaves_the_one_before(serving, updates, tmp_path):
    serving.switch(*updates["1"])
    with pytest.raises(BadPackage, match=r"has no file 'model.onnx'"):
        serving.switch(updates["2"][0], tmp_path)
    assert serving.server.ask({"x": ROWS})[0].version == "1"
    serving.switch(None, tmp_path)
    assert serving.server.model is None


def test_a_program_opens_what_the_agent_has_committed(updates, tmp_path):
    slots = Slots(tmp_path / "home")
    slots.claim()
    update, folder = updates["2"]
    with pytest.raises(NotFound, match="has no model: nothing was committed, and there is no factory model"):
        argosy_edge.load(slots.root)
    envelope = slots.keep(Envelope(payload=msgspec.json.encode(update), signature=b"", key="k"))
    content = Content(index=2, ref=update.ref, package=update.package, envelope=envelope)
    slots.folder("a").symlink_to(folder)
    slots.write(State(committed="a", slots={"a": content}))
    found = argosy_edge.load(slots.root)
    assert (found.name, found.version) == ("model", "2")
    assert found.predict(ROWS)["label"].shape == (8,)
    slots.release()


def test_a_program_opens_a_package_by_its_manifest(updates):
    update, folder = updates["1"]
    assert argosy_edge.load(folder, update.manifest).predict(ROWS)["scores"].shape == (8, 3)


@pytest.mark.parametrize(("ref", "version"), [("model:3", "3"), ("model", ""), ("host:5000/a/b:7", "7")])
def test_the_version_is_what_follows_the_colon(ref, version):
    assert version_of(ref) == version
