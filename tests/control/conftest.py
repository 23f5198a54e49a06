"""The platform as users run it, for the tests of this folder: on this machine's Unix sockets, and over TCP."""

from collections.abc import Callable, Iterator

import pytest

from argosy.spec.settings import Home
from tests.platform.up import STAND_IN_UP, Up, home, settings, started, store
from tests.targets.tcp import TCP_UP

__all__ = ["home", "settings", "start", "store"]


@pytest.fixture(params=["local", pytest.param("tcp", marks=pytest.mark.slow)])
def start(home: Home, request: pytest.FixtureRequest) -> Iterator[Callable[..., Up]]:
    """Starts the platform with a target of either kind; `STAND_IN_UP` asks for stand-ins in both."""
    with started(home) as begin:

        def over_tcp(command: list[str] | None = None) -> Up:
            assert command in (None, STAND_IN_UP)
            return begin([*TCP_UP, "stand-in" if command else "real"])

        yield begin if request.param == "local" else over_tcp
