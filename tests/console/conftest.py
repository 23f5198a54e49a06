"""A console of sample data on a port of its own, and a Chromium that looks at it."""

import contextlib
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
import uvicorn
from starlette.applications import Starlette

from argosy.api import token
from argosy.console.app import pages
from argosy.spec.settings import Home
from argosy.store.database import Database
from tests.console.samples import Samples, services
from tests.programs import chromium as chromium_at

SHOTS = Path(__file__).parents[2] / "build" / "screenshots"


class Console:
    """Where it listens, its token and its database."""

    def __init__(self, url: str, secret: str, database: Database) -> None:
        self.url, self.secret, self.database = url, secret, database

    def login(self) -> str:
        """A URL that signs in, once."""
        answer = httpx.post(f"{self.url}/console/tickets", headers={"authorization": f"Bearer {self.secret}"})
        assert answer.status_code == 201
        return self.url + answer.json()["path"]

    def cookie(self) -> tuple[str, str]:
        """A session's cookie."""
        ((name, value),) = httpx.get(self.login()).cookies.items()
        return name, value

    @contextlib.contextmanager
    def client(self) -> Iterator[httpx.Client]:
        """A browser without a screen, signed in."""
        with httpx.Client(base_url=self.url, follow_redirects=True, timeout=30) as client:
            client.cookies.set(*self.cookie(), domain="127.0.0.1", path="/console")
            yield client

    def text(self, path: str) -> str:
        """A page, as it comes."""
        with self.client() as client:
            answer = client.get(path)
            assert answer.status_code == 200
            return answer.text


@pytest.fixture(scope="session")
def console(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Console]:
    home, now = Home(tmp_path_factory.mktemp("h")).create(), time.time()
    found, secret = services(home, now), token.ensure(home)
    Samples(now).write(found.store.database, ["fraud", "digits"])
    config = uvicorn.Config(
        Starlette(routes=pages(found, secret)), port=0, log_config=None, lifespan="off", ws="none", http="h11"
    )
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run)
    thread.start()
    while not server.started:
        time.sleep(0.01)
    port = server.servers[0].sockets[0].getsockname()[1]
    yield Console(f"http://127.0.0.1:{port}", secret, found.store.database)
    server.should_exit = True
    thread.join()
    found.store.close()


class Chromium:
    """A window of a width and a height, light or dark, with or without scripts."""

    def __init__(self, driver: Any) -> None:
        self.driver = driver

    def size(self, width: int, height: int) -> None:
        """Inner size in CSS pixels."""
        about = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": False}
        self.driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", about)

    def dark(self, on: bool) -> None:
        """What the system prefers."""
        wanted = [{"name": "prefers-color-scheme", "value": "dark" if on else "light"}]
        self.driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": wanted})

    def scripts(self, on: bool) -> None:
        """Whether pages may run scripts."""
        self.driver.execute_cdp_cmd("Emulation.setScriptExecutionDisabled", {"value": not on})

    def visit(self, console: Console, path: str) -> None:
        """Open a page, signed in."""
        name, value = console.cookie()
        about = {"name": name, "value": value, "url": f"{console.url}/console", "path": "/console", "httpOnly": True}
        self.driver.execute_cdp_cmd("Network.setCookie", about)
        self.driver.get(console.url + path)

    def shoot(self, name: str) -> Path:
        """Keep what is to be seen as `build/screenshots/NAME.png`."""
        SHOTS.mkdir(parents=True, exist_ok=True)
        path = SHOTS / f"{name}.png"
        self.driver.save_screenshot(str(path))
        return path

    def run(self, script: str, *given: Any) -> Any:
        """The value of an expression in the page."""
        return self.driver.execute_script(f"return {script}", *given)

    def complaints(self) -> list[str]:
        """What the browser had to say against the page since the last call."""
        return [entry["message"] for entry in self.driver.get_log("browser")]

    def until(self, condition: Callable[[], Any], seconds: float = 60.0) -> Any:
        """Wait for what the page does by itself."""
        end = time.monotonic() + seconds
        while not (found := condition()):
            assert time.monotonic() < end, f"waited in vain at {self.driver.current_url}"
            time.sleep(0.02)
        return found


@pytest.fixture(scope="session")
def _chromium(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Chromium]:
    opened = chromium_at(tmp_path_factory.mktemp("chromium"))
    yield Chromium(opened)
    opened.quit()


@pytest.fixture
def chromium(_chromium: Chromium) -> Iterator[Chromium]:
    _chromium.size(1600, 1000)
    _chromium.dark(False)
    _chromium.scripts(True)
    yield _chromium
    _chromium.driver.delete_all_cookies()
    _chromium.driver.get("about:blank")
    _chromium.complaints()
