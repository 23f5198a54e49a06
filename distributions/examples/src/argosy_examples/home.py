"""The demo's own home: a folder and an environment that touch nobody else's platform."""

import asyncio
import contextlib
import os
import re
import shutil
import tempfile
from collections.abc import Callable, Generator
from pathlib import Path

import psutil

from argosy.platform.down import down
from argosy.platform.lock import holder
from argosy.spec.errors import ArgosyError, Conflict
from argosy.spec.settings import Home, load

TEMPORARY = re.compile(r"argosy-demo-(\d+)-.*")
KEPT = "ARGOSY_GATEWAY_ENVOY"
PORTS = {"ARGOSY_CONTROL_PORT": "0", "ARGOSY_GATEWAY_PORT": "0"}
"""Free ports, so that the demo runs beside any platform."""


@contextlib.contextmanager
def environment() -> Generator[None]:
    """An environment without the user's settings (but for the gateway's binary), and with free ports."""
    given = {name: value for name, value in os.environ.items() if name.startswith("ARGOSY_")}
    _replace({name: value for name, value in given.items() if name == KEPT} | PORTS)
    try:
        yield
    finally:
        _replace(given)


def _replace(values: dict[str, str]) -> None:
    for name in [name for name in os.environ if name.startswith("ARGOSY_")]:
        del os.environ[name]
    os.environ.update(values)


@contextlib.contextmanager
def home(folder: Path | None) -> Generator[Home]:
    """A home in `folder`, which stays, or in a temporary folder, which goes. Raises Conflict.

    A temporary one stays, too, if something still runs there: the next demo clears up.
    """
    if folder is not None:
        yield claim(folder)
        return
    sweep(Path(tempfile.gettempdir()))
    made = Path(tempfile.mkdtemp(prefix=f"argosy-demo-{os.getpid()}-"))
    try:
        yield Home(made)
    finally:
        if holder(Home(made)) is None:
            shutil.rmtree(made, ignore_errors=True)


def work(place: Home) -> Path:
    """Where the demo puts the models that it trains; what tells its home from others."""
    return place.root / "demo"


def claim(folder: Path) -> Home:
    """The folder as a home, if it is new, empty or of an earlier demo, and nothing runs there. Raises Conflict."""
    place = Home(folder.expanduser().absolute())
    if place.root.is_dir() and any(place.root.iterdir()) and not work(place).is_dir():
        raise Conflict(f"{place.root} holds something else than a demo: give --home a new or an empty folder")
    if (pid := holder(place)) is not None:
        raise Conflict(
            f"a platform already runs under {place.root}, in process {pid}: end it by  "
            f"ARGOSY_HOME={place.root} argosy down  or leave out --home"
        )
    return place


def sweep(parent: Path) -> None:
    """Stop and delete what demos that were killed have left under `parent`."""
    for folder in parent.glob("argosy-demo-*"):
        found = TEMPORARY.fullmatch(folder.name)
        if found and not psutil.pid_exists(int(found[1])) and _is_ours(folder):
            with contextlib.suppress(ArgosyError):
                stop(Home(folder), lambda line: None)
            shutil.rmtree(folder, ignore_errors=True)


def _is_ours(folder: Path) -> bool:
    try:
        return folder.lstat().st_uid == os.getuid() and folder.is_dir() and not folder.is_symlink()
    except OSError:
        return False


def stop(place: Home, report: Callable[[str], None]) -> None:
    """End everything that runs under a home, though nobody may read what is reported. Raises Unavailable when something
    does not end."""

    def told(line: str) -> None:
        with contextlib.suppress(OSError):
            report(line)

    asyncio.run(down(place, load(place), report=told))
