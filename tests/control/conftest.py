"""The platform as users run it, for the tests of this folder: by Unix sockets, and by TLS."""

from collections.abc import Callable, Iterator

import pytest

from argosy.spec.settings import Home
from tests.platform.up import Up, home, settings, started, store

__all__ = ["home", "settings", "start", "store"]


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Slow tests go by TLS, the others by Unix sockets and, among the slow ones, by TLS."""
    if "start" in metafunc.fixturenames:
        slow = metafunc.definition.get_closest_marker("slow")
        ways = ["tls"] if slow else ["unix", pytest.param("tls", marks=pytest.mark.slow)]
        metafunc.parametrize("start", ways, indirect=True)


@pytest.fixture
def start(home: Home, request: pytest.FixtureRequest) -> Iterator[Callable[..., Up]]:
    """Starts the platform with replicas that are reached in either way."""
    with home.config.open("a") as config:
        config.write(f"replicas: {{network: {request.param}}}\n")
    with started(home) as begin:
        yield begin
