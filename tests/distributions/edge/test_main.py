"""The command `argosy-edge` where something is wrong, and what it says of a device."""

import errno
import json

import msgspec
import pytest

from argosy_edge import main
from argosy_edge.identity import Identity, Platform
from argosy_edge.slots import Slots
from argosy_edge.wire import Enrolled, WireError
from tests.distributions.edge.devices import BAD, Device, desired, update

ENROL = ["enrol", "https://platform.example", "--fleet", "pumps"]


@pytest.fixture
def home(tmp_path):
    place = tmp_path / "home"
    identity = Identity(place)
    assert identity.public_key
    key = Identity(tmp_path / "platform").public_key
    identity.keep(Enrolled(device="pumps-1", fleet="pumps", keys=(key,)), Platform(url="https://platform.example"))
    return place


@pytest.fixture
def call(capsys, tmp_path):
    def run(*words, home=tmp_path / "none"):
        status = main.command([*words, "--home", str(home)])
        found = capsys.readouterr()
        return status, found.out, found.err

    return run


@pytest.mark.parametrize(
    ("words", "status", "said"),
    [
        (["run"], 4, "holds no device: run  argosy-edge enrol"),
        (["status"], 4, "holds no device"),
        (["factory"], 4, "has no committed model that could be its factory model"),
        (["allow", "sha256:1"], 4, "0 packages that are denied begin with 'sha256:1'"),
        (ENROL, 2, "a device enrols with --token or with --chain, one of them"),
        ([*ENROL, "--token", "x", "--label", "site"], 2, "--label site: a label is KEY=VALUE"),
        (["enrol", "http://platform.example", "--fleet", "f", "--token", "x"], 2, "is not encrypted"),
    ],
    ids=["run", "status", "factory", "allow", "no-token", "label", "plain"],
)
def test_what_is_wrong_has_a_message_and_an_exit_status(call, words, status, said):
    found, out, err = call(*words)
    assert (found, out) == (status, "")
    assert err.startswith("Error: ")
    assert said in err


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (OSError(errno.ENOSPC, "No space left on device", "/x"), 10),
        (PermissionError(errno.EACCES, "Permission denied", "/x"), 1),
        (WireError("the platform's answer cannot be read"), 7),
    ],
    ids=["disk", "permission", "wire"],
)
def test_every_error_has_an_exit_status(call, monkeypatch, error, status):
    def fail(self):
        raise error

    monkeypatch.setattr(Identity, "platform", property(fail))
    assert call("status")[0] == status


def test_status_tells_what_it_has_and_what_was_rolled_back(call, home):
    assert "agent      does not run:  argosy-edge run" in call("status", home=home)[1]
    with Device(home) as device:
        device.agent.want(desired(update(1)))
        device.settled(1)
        device.models.quality = BAD
        device.agent.want(desired(update(2)))
        device.until(lambda: device.state.denied and device.state.phase == "idle")
        text = call("status", home=home)[1]
        assert "device     pumps-1 of fleet pumps, https://platform.example" in text
        assert "agent      process " in text
        assert "model      digits:1, update 1, sha256:" in text
        assert "denied     sha256:" in text
        assert call("allow", "sha256:", home=home)[0] == 5
    shown = json.loads(call("status", "--json", home=home)[1])
    assert (shown["committed"]["index"], shown["process"], shown["denied"][0]["index"]) == (1, None, 2)
    assert call("allow", shown["denied"][0]["package"][:20], home=home)[0] == 0
    with Device(home) as device:
        device.agent.want(desired(update(3, 2)))
        device.settled(3)


def test_a_state_that_is_damaged_is_told_of_and_stays(call, home):
    with Device(home) as device:
        device.agent.want(desired(update(1)))
        device.settled(1)
    (home / "state.json").write_bytes(b"{")
    assert "trouble    " in call("status", home=home)[1]
    assert (home / "state.json").exists()
    assert msgspec.json.decode(call("status", "--json", home=home)[1])["trouble"]
    assert Slots(home).read(put_aside=False)[0].floor == 1
