"""Fleets by the commands, on a real platform, with an agent's requests through its gateway and at its own port."""

import json
import shutil
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from argosy.cli.main import argosy
from argosy.spec.settings import Home
from argosy_edge.errors import PermissionDenied
from argosy_edge.identity import Identity, Platform
from argosy_edge.link import Link, enrol
from argosy_edge.wire import AgentReport
from tests.platform.up import Up
from tests.trust.conftest import Authority, make_key, pem, write_key

pytestmark = pytest.mark.slow


@pytest.fixture
def run(home: Home, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Result]:
    """`argosy fleet …`; with `fails` the exit status that it has to have."""
    monkeypatch.setenv("ARGOSY_HOME", str(home.root))

    def call(*words: object, fails: int = 0) -> Result:
        found = CliRunner().invoke(argosy, ["fleet", *map(str, words)])
        assert found.exit_code == fails, found.output
        return found

    return call


def test_a_fleet_from_its_first_device_to_its_revocation(
    home: Home, start: Callable[..., Up], run: Callable[..., Any], tmp_path: Path
) -> None:
    platform = start().ready()
    assert "no fleets yet" in run("ls").output
    authority, (_, signer) = tmp_path / "ca.pem", write_key(tmp_path / "release.pem", make_key())
    authority.write_bytes(pem(Authority().root))
    run("create", "cars", "--owner", authority, "--signer", signer)
    run("create", "cars", fails=5)
    run("create", "boats", "--owner", signer, fails=2)
    run("create", "a" * 60, fails=2)
    run("token", "boats", fails=4)
    for wrong in (("--for", "soon"), ("--for", "1m", "--label", "x"), ("--label", "a=<b>")):
        run("token", "cars", *wrong, fails=2)
    found = json.loads(run("token", "cars", "--uses", 2, "--label", "site=north", "--json").stdout)
    control = json.loads((home.run / "control.json").read_text())["url"]
    assert found["url"].startswith("http://127.0.0.1:")
    assert found["url"] != control

    by_gateway, by_port = Identity(tmp_path / "a"), Identity(tmp_path / "b")
    told = enrol(by_gateway, Platform(url=found["url"]), "cars", token=found["token"], name="one")
    assert len(told.signers) == 1
    enrol(by_port, Platform(url=control), "cars", token=found["token"], labels={"line": "7"})
    one, two = Link(by_gateway), Link(by_port)
    assert one.desired("", 0).revision == two.desired("", 0).revision == "0"
    assert one.report(AgentReport(number=1, boot=1, phase="idle")).number == 1

    shown = json.loads(run("devices", "cars", "--json").stdout)
    assert {each["id"]: each["labels"] for each in shown} == {
        "one": {"site": "north"},
        by_port.enrolled.device: {"site": "north", "line": "7"},  # type: ignore[union-attr]
    }
    assert "PEM" not in json.dumps(shown)
    assert "ratchet" not in json.dumps(shown)
    assert [each["id"] for each in json.loads(run("devices", "cars", "--label", "line=7", "--json").stdout)] != ["one"]
    assert "site=south" in run("label", "cars", "one", "site=south", "line=1").output
    assert run("label", "cars", "one", "site-").output == "one: line=1\n"
    run("label", "cars", "one", "nothing", fails=2)
    run("label", "cars", "nobody", "a=b", fails=4)

    revoked(platform, run, one, two)
    platform.stop()


def revoked(platform: Up, run: Callable[..., Any], one: Link, two: Link) -> None:
    refused: list[str] = []

    def wait() -> None:
        try:
            one.desired("0", 50)
        except PermissionDenied as error:
            refused.append(error.message)

    thread = threading.Thread(target=wait)
    thread.start()
    time.sleep(0.5)
    run("revoke", "cars", "one", "--reason", "it was stolen")
    thread.join(60)
    assert "it was stolen" in refused[0]
    assert two.desired("", 0).revision == "0"
    assert "revoked: it was stolen" in run("devices", "cars", "--state", "revoked").output
    assert "1 active, 1 revoked" in run("ls").output
    assert "key 2 signs" in run("new-key").output
    assert two.desired("", 0).revision == "0"
    assert len(two.keys) == 2
    assert platform.ask("GET", "/v1/fleets/cars/devices?labels=x").status_code == 400
    assert platform.ask("POST", "/v1/fleets/boats/devices/one/revoke", json={}).status_code == 404


def test_a_clone_is_an_incident_until_it_is_revoked(
    home: Home, start: Callable[..., Up], run: Callable[..., Any], tmp_path: Path
) -> None:
    platform = start().ready()
    run("create", "cars")
    found = json.loads(run("token", "cars", "--json").stdout)
    identity = Identity(tmp_path / "a")
    enrol(identity, Platform(url=found["url"]), "cars", token=found["token"], name="one")
    Link(identity).desired("", 0)
    shutil.copytree(tmp_path / "a", tmp_path / "b")
    Link(Identity(tmp_path / "b")).desired("", 0)
    with pytest.raises(PermissionDenied, match="two devices"):
        Link(identity).desired("", 0)

    def firing() -> list[str]:
        return [each["endpoint"] for each in platform.call("GET", "/v1/alerts") if each["state"] == "firing"]

    deadline = time.monotonic() + 60
    while firing() != ["fleet.cars"]:
        assert time.monotonic() < deadline
        time.sleep(0.2)
    run("revoke", "cars", "one")
    platform.stop()
