"""The agent's loop on a real disk, with stand-ins for network and models."""

import errno
import os

import msgspec
import pytest

from argosy_edge import agent as agents
from argosy_edge import durable
from argosy_edge.errors import Conflict, StorageFull, Unavailable
from argosy_edge.slots import Slots, verify
from tests.distributions.edge.devices import BAD, Device, Models, Source, desired, update


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    monkeypatch.setattr(agents, "LOOK", 0.02)
    monkeypatch.setattr(agents, "RETRY", 0.05)


def test_an_update_is_taken_and_outlives_a_start(tmp_path):
    with Device(tmp_path) as device:
        device.agent.want(desired(update(1)))
        device.settled(1)
        assert device.models.serving == "digits:1"
    with Device(tmp_path) as device:
        device.settled(1)
        device.until(lambda: device.models.serving == "digits:1")
        assert device.source.fetched == []
        content = device.state.content
        verify(device.slots.folder(device.state.committed), device.slots.update(content))


def test_a_bad_one_is_rolled_back_and_the_one_before_serves_on(tmp_path):
    with Device(tmp_path) as device:
        device.agent.want(desired(update(1)))
        device.settled(1)
        device.models.quality = BAD
        device.agent.want(desired(update(2)))
        device.until(lambda: device.state.denied)
        device.settled(1)
        assert device.models.serving == "digits:1"
        assert not device.models.candidate
        assert "agreement: 0.0%" in device.said("rolled_back")[0]
        device.agent.want(desired(update(3, 2)))
        device.until(lambda: any("rolled back here before" in each for each in device.said("refused")))


def test_a_candidate_that_dies_is_started_again_until_it_has_no_loads_left(tmp_path):
    with Device(tmp_path) as device:
        device.agent.want(desired(update(1)))
        device.settled(1)
        device.models.dies = "signal 11"
        device.agent.want(desired(update(2)))
        device.until(lambda: device.state.denied)
        assert "started 3 times and not committed, the last time the candidate ended: signal 11" in str(
            device.state.denied
        )


def test_a_statement_that_nobody_signed_is_refused_and_said_once(tmp_path):
    with Device(tmp_path) as device:
        wrong = desired(update(1))
        wrong = msgspec.structs.replace(wrong, update=msgspec.structs.replace(wrong.update, signature=b"x"))
        for _ in range(3):
            device.agent.want(wrong)
            device.until(lambda: device.said("refused"))
        device.agent.want(desired(update(2)))
        device.settled(2)
        assert device.said("refused") == ["BadSignature the signature is not that of the fleet's key"]


def test_two_agents_on_one_folder_are_refused(tmp_path):
    with Device(tmp_path), pytest.raises(Conflict, match=rf"has an agent already, process {os.getpid()}: end it first"):
        Slots(tmp_path).claim()
    Slots(tmp_path).claim()


STEPS = ["fetch", "assemble", "selftest", "load", "switch"]


@pytest.mark.parametrize("step", STEPS)
@pytest.mark.parametrize(
    "error", [OSError(errno.ENOSPC, "No space left on device"), StorageFull("full"), OSError(5, "x")]
)
def test_a_step_that_fails_for_a_while_is_done_again(tmp_path, monkeypatch, step, error):
    left = {step: 1}

    def trouble(name: str) -> None:
        if committed and left.get(name):
            left[name] -= 1
            raise error

    committed: list[int] = []
    models, source = Models(trouble), Source(trouble)
    with Device(tmp_path, models, source) as device:
        device.agent.want(desired(update(1)))
        device.settled(1)
        committed.append(1)
        device.agent.want(desired(update(2)))
        device.until(lambda: not left[step])
        # A slot that cannot be served once gives way to the one before; what is wanted is fetched anew.
        device.settled(2)
        assert device.models.serving == "digits:2"
        assert device.state.denied == ()


def test_a_disk_that_is_full_stops_the_update_and_not_what_serves(tmp_path, monkeypatch):
    with Device(tmp_path) as device:
        device.agent.want(desired(update(1)))
        device.settled(1)
        full = []
        write = durable.write

        def writing(path, data, mode=0o600):
            if full:
                raise OSError(errno.ENOSPC, "No space left on device")
            write(path, data, mode)

        monkeypatch.setattr(durable, "write", writing)
        full.append(1)
        device.agent.want(desired(update(2)))
        device.until(lambda: device.said("trouble"))
        assert "No space left on device" in device.said("trouble")[0]
        assert device.models.serving == "digits:1"
        full.clear()
        device.agent.want(desired(update(2)))
        device.settled(2)


def test_the_state_is_written_on_a_full_disk_at_the_cost_of_the_reserve(tmp_path, monkeypatch):
    slots = Slots(tmp_path)
    slots.claim()
    assert (tmp_path / "reserve").stat().st_size == 256 * 1024
    write = durable.write

    def writing(path, data, mode=0o600):
        if (tmp_path / "reserve").exists():
            raise OSError(errno.ENOSPC, "No space left on device")
        write(path, data, mode)

    monkeypatch.setattr(durable, "write", writing)
    state, _ = slots.read()
    slots.write(msgspec.structs.replace(state, floor=7))
    assert slots.read()[0].floor == 7
    slots.release()


def test_weeks_without_a_network_change_nothing(tmp_path):
    def gone(step: str) -> None:
        raise Unavailable("the platform cannot be reached")

    with Device(tmp_path) as device:
        device.agent.want(desired(update(1)))
        device.settled(1)
    source = Source(gone)
    with Device(tmp_path, source=source) as device:
        device.agent.want(desired(update(2)))
        device.until(lambda: len(device.said("trouble")) > 1)
        assert device.models.serving == "digits:1"
        source.trouble = lambda step: None
        device.settled(2)


def test_a_state_that_is_damaged_is_put_aside_and_no_older_update_is_taken(tmp_path):
    with Device(tmp_path) as device:
        device.agent.want(desired(update(5)))
        device.settled(5)
    path = tmp_path / "state.json"
    path.write_bytes(path.read_bytes().replace(b'"floor":5', b'"floor":0'))
    with Device(tmp_path) as device:
        device.agent.want(desired(update(4)))
        device.until(lambda: device.said("refused"))
        assert "state.json is damaged (its SHA-256 is another) and was put aside" in device.said("trouble")[0]
        assert "update 5 was committed before" in device.said("refused")[0]
        device.agent.want(desired(update(5)))
        device.settled(5)


def test_a_slot_that_rots_gives_way_and_is_fetched_anew(tmp_path):
    with Device(tmp_path) as device:
        for index in (1, 2):
            device.agent.want(desired(update(index)))
            device.settled(index)
        broken = device.slots.folder(device.state.committed) / "weights/model.onnx"
    broken.write_bytes(broken.read_bytes()[:-1] + b"?")
    with Device(tmp_path) as device:
        device.settled(1)
        device.until(lambda: device.said("rolled_back"))
        assert "is not what was signed" in device.said("rolled_back")[0]
        device.until(lambda: device.models.serving == "digits:1")
        device.agent.want(desired(update(2)))
        device.settled(2)


def test_the_factory_model_is_the_last_resort(tmp_path):
    with Device(tmp_path) as device:
        device.agent.want(desired(update(1)))
        device.settled(1)
        device.slots.make_factory(device.state)
        device.agent.want(desired(update(2)))
        device.settled(2)
    for place in ("a", "b"):
        (tmp_path / "slots" / place / "model.yaml").unlink()
    with Device(tmp_path) as device:
        device.until(lambda: device.models.serving == "digits:1")
        assert device.state.committed == ""
