"""The control API under attack by callers without a token (attack/control.py)."""

import json
import sys
from collections.abc import Callable
from urllib.parse import urlsplit

import psutil
import pytest

from argosy.platform import leftovers
from argosy.platform.down import down
from argosy.spec.settings import Home, Settings
from attack.control import FLOODS, HELD, Place, answered, attacks, held
from tests.platform.up import Up, until

MIB = 1 << 20
CONSOLE = [sys.executable, "-m", "argosy.console"]
FEW_FILES = ["bash", "-c", 'ulimit -n 256; exec "$@"', "-", *CONSOLE]
EXPOSED = "control: {host: 0.0.0.0, port: 0, expose: true}\ngateway: {port: 0}\n"


def place(home: Home) -> Place:
    url = urlsplit(json.loads((home.run / "control.json").read_text())["url"])
    return Place(url.hostname or "", url.port or 0, url.scheme == "https")


def logged(home: Home) -> int:
    """Bytes of what the controller has said."""
    return sum(each.stat().st_size for each in (home.root / "up.out", *home.logs.glob("control*.log")) if each.exists())


@pytest.mark.parametrize(
    ("config", "wanted"),
    [
        pytest.param("", (*HELD, *FLOODS), id="plain", marks=pytest.mark.slow),
        pytest.param(EXPOSED, ("half heads", "TLS handshakes that never end"), id="tls"),
        pytest.param(EXPOSED, tuple(attacks()), id="tls, all of them", marks=pytest.mark.slow),
    ],
)
async def test_strangers_cost_little_and_keep_nobody_from_the_api(
    home: Home, settings: Settings, start: Callable[..., Up], config: str, wanted: tuple[str, ...]
):
    if config:
        home.config.write_text(config)
    platform = start(CONSOLE).ready()
    there, token, process = place(home), (home.run / "token").read_text(), psutil.Process(platform.process.pid)
    assert answered(there, token) == 200
    for _ in range(3):
        platform.call("GET", "/v1/endpoints")  # which waits for a pass of the controller: all has begun
    memory, files = process.memory_info().rss, process.num_fds()
    for name in wanted:
        with attacks()[name](there):
            assert answered(there, token) == 200, name
            assert process.memory_info().rss - memory < 64 * MIB, name
            assert process.num_fds() < files + 200, name
    until(lambda: process.num_fds() < files + 20)
    assert logged(home) < MIB
    assert await down(home, settings, report=print)
    assert platform.process.wait(60) == 0
    assert await leftovers.ensure_gone(home) == 0


@pytest.mark.slow
async def test_with_few_files_half_requests_end_neither_the_api_nor_what_down_says(
    home: Home, settings: Settings, start: Callable[..., Up]
):
    platform = start(FEW_FILES).ready()
    there, token = place(home), (home.run / "token").read_text()
    with held(there, HELD["half heads"]):
        for _ in range(5):
            assert answered(there, token) == 200
        assert await down(home, settings, report=print)
    assert platform.process.wait(60) == 0
    assert logged(home) < MIB
    assert await leftovers.ensure_gone(home) == 0
