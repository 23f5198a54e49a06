"""The places to try targets in."""

from collections.abc import Iterator

import pytest

from argosy.spec.settings import Home
from tests.targets.lab import Lab, LocalLab


@pytest.fixture(params=["unix", "tls"])
def lab(tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest) -> Iterator[Lab]:
    """One of each kind: what holds of a target does for all."""
    made = LocalLab(Home(tmp_path_factory.mktemp("h")), request.param)
    yield made
    made.close()
