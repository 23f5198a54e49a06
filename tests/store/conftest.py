"""Layouts, and databases of both kinds: SQLite files, and a PostgreSQL server of the tests' own."""

import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

import argosy.store.keys  # noqa: F401 - the tables register themselves on import
from argosy.spec.settings import Home, Settings
from argosy.store import open_store
from argosy.store.database import Database
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


def _binaries() -> Path | None:
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"), key=lambda path: int(path.parts[-3]))
    if found:
        return found[-1].parent
    which = shutil.which("initdb")
    return Path(which).parent if which else None


@pytest.fixture(scope="session")
def postgres() -> Iterator[str]:
    """The socket folder of a PostgreSQL server; its superuser is `postgres`, without a password."""
    if _binaries() is None:
        pytest.skip("PostgreSQL is not installed (apt package postgresql)")
    with tempfile.TemporaryDirectory(prefix="pg", dir="/tmp") as name:
        place = Path(name)
        if os.geteuid() == 0:
            shutil.chown(place, "postgres")
        _call(place, "initdb", "-U", "postgres", "-A", "trust", "-E", "UTF8", "--no-sync")
        start(place)
        try:
            yield name
        finally:
            stop(place)


def start(place: Path) -> None:
    """Start the server of this socket folder."""
    options = f"-c listen_addresses='' -c unix_socket_directories={place} -c fsync=off -c max_connections=40"
    _call(place, "pg_ctl", "-w", "-l", str(place / "log"), "-o", options, "start")


def stop(place: Path) -> None:
    """End it as a crash does."""
    _call(place, "pg_ctl", "-w", "-m", "immediate", "stop")


def _call(place: Path, program: str, *arguments: str) -> None:
    binaries = _binaries()
    assert binaries is not None
    user = {"user": "postgres"} if os.geteuid() == 0 else {}
    with (place / "output").open("ab") as output:
        command = [str(binaries / program), "-D", str(place / "data"), *arguments]
        subprocess.run(command, check=True, cwd=place, stdout=output, stderr=output, timeout=60, **user)


@pytest.fixture(params=["sqlite", "postgres"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """The URL of an empty database, once of each kind."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path / 'argosy.db'}"
    return schema(request.getfixturevalue("postgres"))


def schema(socket: str) -> str:
    """The URL of a new schema in the server of this socket folder."""
    import psycopg

    name = "t" + os.urandom(6).hex()
    with psycopg.connect(host=socket, user="postgres", dbname="postgres", autocommit=True) as connection:
        connection.execute(f"create schema {name}")  # pyright: ignore
    return f"postgresql+psycopg://postgres@/postgres?host={socket}&options=-csearch_path%3D{name}"


@pytest.fixture
def database(url: str) -> Iterator[Database]:
    database = Database(url).create()
    yield database
    database.close()
