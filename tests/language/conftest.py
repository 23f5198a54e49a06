"""Fake engines for the tests of language models."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from tests.language.fake_engine import Fake, running

StartFake = Callable[..., Fake]


@pytest.fixture
def start_fake(tmp_path: Path) -> Iterator[StartFake]:
    """Starts a fake engine on a Unix socket of its own, with these options; they end with the test."""
    with ExitStack() as stack:
        count = iter(range(100))

        def start(**options: Any) -> Fake:
            return stack.enter_context(running(tmp_path / f"e{next(count)}.sock", **options))

        yield start


@pytest.fixture
def fake_engine(start_fake: StartFake) -> Fake:
    """One with the defaults."""
    return start_fake()
