"""What commands work on: the home of the environment, its settings, its store, its running platform.

Commands that read what was recorded or found, and those of the registry, open the store: they work without a platform.
Those that declare or observe what runs ask the control API.
"""

from collections.abc import Generator
from contextlib import closing, contextmanager
from typing import TYPE_CHECKING
from urllib.parse import quote

import click

from argosy.spec.settings import Home, Settings, home, load

if TYPE_CHECKING:
    from argosy.client.control import ControlClient
    from argosy.store import Store

reason_option = click.option("-m", "--reason", default="", help="Why: it goes into the ledger (argosy history).")


def place() -> Home:
    """`ARGOSY_HOME`, with its folders made."""
    return home().create()


def settings() -> Settings:
    """The settings in effect. Raises InvalidArgument."""
    return load(home())


@contextmanager
def store() -> "Generator[Store]":
    """The store of the home: files and registry. It is closed at the end of the block."""
    from argosy.store import open_store

    with closing(open_store(place(), settings())) as opened:
        yield opened


def control(timeout: float = 30.0) -> "ControlClient":
    """The control API of the platform that runs under the home, or that the environment names on another machine.
    Raises Unavailable when none does."""
    from argosy.client.control import ControlClient

    return ControlClient(timeout=timeout)


def endpoint_path(name: str) -> str:
    """The path of an endpoint in the control API."""
    return f"/v1/endpoints/{quote(name, safe='')}"


def actor() -> str:
    """The user of this machine who runs the command: the one who changed something, in the ledger."""
    import getpass

    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return "unknown"
