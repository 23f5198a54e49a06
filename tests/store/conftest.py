"""Layouts, packages and stores."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from argosy.spec.settings import Home, Settings
from argosy.store import open_store
from argosy.store.layout import Layout
from argosy.store.store import Store
from tests.store.samples import write_folder


@pytest.fixture
def layout(tmp_path: Path) -> Layout:
    return Layout(tmp_path / "store")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return write_folder(tmp_path / "package")


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    store = open_store(Home(tmp_path / "home"), Settings())
    yield store
    store.close()
