"""A platform launches this machine, is killed, and knows it again."""

import msgspec
import pytest

from argosy.cli import checks
from argosy.spec.settings import Settings, load
from tests.platform.up import until

pytestmark = pytest.mark.slow


def test_a_machine_outlives_the_platform_that_launched_it(home, start, monkeypatch):
    monkeypatch.setenv("HOME", str(home.root))
    with home.config.open("a") as file:
        file.write("supply: {providers: {here: {kind: local, host: {price: 0.5}}}}\n")
    up = start().ready()
    asked = up.call("PUT", "/v1/launches/a1", {"provider": "here"})
    up.kill()
    up = start().ready()

    def stands(state: str):
        found = up.call("GET", "/v1/launches", days=1)
        return [each for each in found["launches"] if each["state"] == state and not found["findings"]]

    (ready,) = until(lambda: stands("ready"))
    assert (ready["id"], ready["price"]) == (asked["id"], 0.5)
    (check,) = checks.supply(home, load(home, {}))
    assert (check.name, check.status) == ("supply here", "ok")
    (home.root / ".argosy-launch").write_text(f"{ready['id']}x 1\n")
    (check,) = checks.supply(home, load(home, {}))
    assert check.status == "warn"
    assert "which has not written it down" in check.found
    (home.root / ".argosy-launch").write_text(f"{ready['id']} 1\n")
    (check,) = checks.supply(home, Settings())
    assert check.found == "machines of providers that the settings do not name: 1 of here"
    assert up.call("GET", "/v1/groups") == {"groups": []}
    up.call("DELETE", "/v1/launches/a1")
    (ended,) = until(lambda: stands("ended"))
    assert not (home.root / ".argosy-launch").exists()
    assert msgspec.to_builtins(ended)["ended"] >= ready["started"]
    assert up.stop() == 0


def test_a_group_has_its_machine_ready_and_joined_after_a_kill(home, start, monkeypatch):
    monkeypatch.setenv("HOME", str(home.root))
    with home.config.open("a") as file:
        join = f"[sh, -c, 'echo {{machine}} >> {home.root}/joined']"
        file.write(f"supply: {{providers: {{here: {{kind: local}}}}, groups: {{g: {{machines: 1, join: {join}}}}}}}\n")
    up = start().ready()
    until((home.root / ".argosy-launch").exists)
    up.kill()
    up = start().ready()

    def ready():
        (group,) = up.call("GET", "/v1/groups")["groups"]
        return group if group["ready"] else None

    assert until(ready)["coming"] == 0
    assert (home.root / "joined").exists()
    assert len(up.call("GET", "/v1/launches", days=1)["launches"]) == 1
    assert up.stop() == 0
