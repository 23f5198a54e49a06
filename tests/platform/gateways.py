"""`argosy gateway` as users run it: processes on homes of their own, which follow the platform of another home."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx

from argosy.spec.settings import Home
from tests import ports
from tests.platform.up import PATIENCE, Up, clear, until

ARGOSY = str(Path(sys.executable).with_name("argosy"))
BODY = {"inputs": [{"name": "x", "datatype": "FP32", "shape": [1, 4], "data": [1, 1, 1, 1]}]}


class RemoteGateway:
    """One of them. `url` is where the control API is, if it is not that of `platform` itself."""

    def __init__(self, root: Path, name: str, platform: Up, url: str = "", token: str | None = None) -> None:
        self.home, self.name, self.platform = Home(root).create(), name, platform
        self.port = ports.free()
        self.home.config.write_text(f"gateway: {{port: {self.port}}}\n")
        self.control = url or json.loads(platform.home.control.read_bytes())["url"]
        self.token = (platform.home.root / "gateway.token").read_text() if token is None else token
        self.process = self.start()

    def start(self) -> subprocess.Popen[bytes]:
        variables = {"ARGOSY_CONTROL_URL": self.control, "ARGOSY_CONTROL_TOKEN": self.token}
        with (self.home.root / "out").open("ab") as out:
            self.process = subprocess.Popen(
                [ARGOSY, "gateway", "--name", self.name],
                env={**os.environ, **variables, "ARGOSY_HOME": str(self.home.root)},
                stdout=out,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        return self.process

    @property
    def out(self) -> str:
        return (self.home.root / "out").read_text()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/v2/models/digits/infer"

    def ask(self, key: str) -> httpx.Response:
        headers = {"authorization": f"Bearer {key}"}
        return httpx.post(self.url, json=BODY, headers=headers, timeout=PATIENCE)

    def status(self) -> dict[str, object]:
        """As the platform has it; empty where it does not follow."""
        found = self.platform.call("GET", "/v1/gateways")
        return next((each for each in found if each["name"] == self.name), {})

    def confirmed(self) -> "RemoteGateway":
        until(lambda: self.status().get("confirmed") or self.process.poll() is not None)
        assert self.process.poll() is None, self.out
        return self

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()

    def stop(self) -> int:
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(PATIENCE)

    def end(self) -> None:
        """Whatever became of it."""
        if self.process.poll() is None:
            self.kill()
        clear(self.home)


class Gateways(list[RemoteGateway]):
    """Those of one test."""

    def __init__(self, folder: Path) -> None:
        super().__init__()
        self._folder = folder

    def begin(self, platform: Up, *names: str, **more: str) -> list[RemoteGateway]:
        new = [RemoteGateway(self._folder / name, name, platform, **more) for name in names]
        self += new
        return new


@contextmanager
def gateways(folder: Path) -> Iterator[Gateways]:
    """Begins gateways, and ends those that are left."""
    found = Gateways(folder)
    try:
        yield found
    finally:
        for each in found:
            each.end()
