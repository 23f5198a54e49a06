"""The places to try targets in."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from argosy.spec.settings import Home
from tests.batch import nodes
from tests.targets.lab import Lab, LocalLab, RayLab

RAY = pytest.param("ray", marks=[pytest.mark.slow, pytest.mark.xdist_group("ray")])


@pytest.fixture(scope="session")
def ray(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[nodes.Nodes, Path]]:
    """A Ray cluster of a head without cores and two nodes with four each, and the home of its nodes."""
    folder = tmp_path_factory.mktemp("n")
    with nodes.running(0, 4, 4, log=folder / "log", environ={"ARGOSY_HOME": str(folder)}) as found:
        yield found, folder


@pytest.fixture(params=["unix", "tls", RAY])
def lab(tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest) -> Iterator[Lab]:
    """One of each kind: what holds of a target does for all."""
    home = Home(tmp_path_factory.mktemp("h"))
    on_ray = request.param == "ray"
    made = RayLab(home, *request.getfixturevalue("ray")) if on_ray else LocalLab(home, request.param)
    yield made
    made.close()
