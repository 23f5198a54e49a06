"""Programs of other projects that tests start, and servers that stand in for them."""

import contextlib
import os
import shutil
import subprocess
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import psutil
import pytest

ONNXRUNTIME_WEB = ("npm", "install", "--ignore-scripts", "--no-audit", "--no-fund", "onnxruntime-web@1.30.0")

FLAGS = (
    "--headless=new",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-dev-shm-usage",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--no-first-run",
    "--hide-scrollbars",
    "--force-prefers-reduced-motion",
)


def cut_off(process: psutil.Process) -> None:
    """Kill a process with all that it has started."""
    with contextlib.suppress(psutil.NoSuchProcess):
        process.suspend()  # it starts nothing meanwhile
        for each in [*process.children(recursive=True), process]:
            with contextlib.suppress(psutil.NoSuchProcess):
                each.kill()


def need(*names: str) -> str:
    """The path of a program: what the variable of its first name says (CHROMIUM), or the first of these names on the
    PATH. Skips the test where there is none."""
    given = os.environ.get(names[0].upper(), "")
    found = next(filter(None, map(shutil.which, [given, *names] if given else names)), None)
    if found is None:
        variable = f", or name it by {names[0].upper()}" if names[0].isidentifier() else ""
        pytest.skip(f"{names[0]} is not installed: `make apt` does it on Debian; else put it on the PATH{variable}")
    return found


def onnxruntime_web(folder: Path) -> Path:
    """The folder, where npm has installed onnxruntime-web. Skips the test where it cannot."""
    need("npm")
    need("node")
    if subprocess.run([*ONNXRUNTIME_WEB, "--prefix", str(folder)], check=False, capture_output=True).returncode:
        pytest.skip(f"there is no onnxruntime-web: run  {' '.join(ONNXRUNTIME_WEB)}  where npm can get it")
    return folder


def chromium(folder: Path) -> Any:
    """A Chromium without a screen, driven by selenium; what it writes goes below the folder. Skips the test where there
    is none."""
    browser, driver = need("chromium", "chromium-browser", "google-chrome"), need("chromedriver")
    from selenium import webdriver

    options = webdriver.ChromeOptions()
    options.binary_location = browser
    for flag in FLAGS:
        options.add_argument(flag)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    service = webdriver.ChromeService(driver, env={**os.environ, "TMPDIR": str(folder)})
    return webdriver.Chrome(options, service)


@contextlib.contextmanager
def web(handler: type[BaseHTTPRequestHandler]) -> Iterator[str]:
    """The URL of a server of HTTP that answers by this handler."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
