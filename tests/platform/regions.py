"""Two platforms as regions, each on a home of its own; the first holds the plan."""

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx

from argosy.spec.settings import Home
from tests.platform.up import PATIENCE, Up, clear, started, until

BODY = {"inputs": [{"name": "x", "datatype": "FP32", "shape": [1, 4], "data": [1, 1, 1, 1]}]}


class Regions:
    """`east` holds the plan, `west` is added to it."""

    def __init__(self, east: Home, west: Home) -> None:
        self.homes = {"east": east, "west": west}
        self._start: dict[str, Callable[..., Up]] = {}
        self.up: dict[str, Up] = {}

    def begin(self, start: dict[str, Callable[..., Up]]) -> None:
        """Begin all of them."""
        self._start = start
        self.up = {name: each() for name, each in start.items()}
        for each in self.up.values():
            each.ready()

    def restart(self, region: str) -> None:
        """Begin a platform again that was killed."""
        self.up[region] = self._start[region]().ready()

    def add(self) -> None:
        """Have the holder add the other region."""
        body = {"url": self.control("west"), "token": (self.homes["west"].root / "region.token").read_text()}
        self.up["east"].call("PUT", "/v1/regions/west", body)

    def control(self, region: str) -> str:
        return str(json.loads(self.homes[region].control.read_bytes())["url"])

    def status(self, region: str, endpoint: str = "digits") -> dict[str, object]:
        """An endpoint in a region, as the holder has it."""
        found = {each["name"]: each for each in self.up["east"].call("GET", "/v1/regions")}
        return found[region]["endpoints"].get(endpoint, {})

    def serving(self, region: str, version: str) -> bool:
        found = self.status(region)
        return found.get("state") == "ready" and found.get("serving") == version

    def ask(self, region: str, key: str) -> httpx.Response:
        url = self.up[region].call("GET", "/v1/status")["gateway"]
        headers = {"authorization": f"Bearer {key}"}
        return httpx.post(f"{url}/v2/models/digits/infer", json=BODY, headers=headers, timeout=PATIENCE)

    def answers(self, region: str, key: str) -> float:
        found = self.ask(region, key)
        assert found.status_code == 200, found.text
        return found.json()["outputs"][0]["data"][0]


@contextmanager
def regions(folder: Path, west: str = "") -> Iterator[Regions]:
    """Two platforms with names; the second has no model of its own. `west`: more of its control API's settings."""
    homes = [Home(folder / name).create() for name in ("east", "west")]
    for home, more in zip(homes, ("", west), strict=True):
        ports = f"control: {{port: 0{more}}}\ngateway: {{port: 0}}\n"
        home.config.write_text(f"{ports}region: {{name: {home.root.name}}}\n")
    found = Regions(*homes)
    try:
        with started(homes[0]) as one, started(homes[1]) as two:
            found.begin({"east": one, "west": two})
            yield found
    finally:
        for home in homes:
            clear(home)


__all__ = ["Regions", "regions", "until"]
