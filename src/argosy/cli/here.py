"""What commands work on: the home of the environment, its settings, its store, its running platform."""

from collections.abc import Generator
from contextlib import closing, contextmanager
from typing import TYPE_CHECKING

from argosy.spec.settings import Home, Settings, home, load

if TYPE_CHECKING:
    from argosy.client.control import ControlClient
    from argosy.store import Store


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


def actor() -> str:
    """The user of this machine who runs the command: the ledger's word for who changed something."""
    import getpass

    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return "unknown"
