from collections.abc import Iterator
from pathlib import Path

import pytest

from argosy.spec.settings import Home, Settings
from argosy.store import open_store
from argosy.store.store import Store


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    store = open_store(Home(tmp_path / "home"), Settings())
    yield store
    store.close()
