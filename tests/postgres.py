"""PostgreSQL: a real server of the tests' own, of whatever version is installed."""

import contextlib
import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest


def binaries() -> Path | None:
    """The folder of `initdb` and `pg_ctl`: the newest of Debian's, or what is on the PATH."""
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"), key=lambda path: int(path.parts[-3]))
    which = shutil.which("initdb")
    return found[-1].parent if found else Path(which).parent if which else None


@contextlib.contextmanager
def running() -> Iterator[str]:
    """The socket folder of a server; its superuser is `postgres`, without a password. Skips the test without one."""
    if binaries() is None:
        pytest.skip("PostgreSQL is not installed: make apt, or put initdb and pg_ctl on the PATH")
    with tempfile.TemporaryDirectory(prefix="pg", dir="/tmp") as name:
        place = Path(name)
        if os.geteuid() == 0:
            shutil.chown(place, "postgres")
        _call(place, "initdb", "-U", "postgres", "-A", "trust", "-E", "UTF8", "--no-sync")
        try:
            start(place)
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
    found = binaries()
    assert found is not None
    user = {"user": "postgres"} if os.geteuid() == 0 else {}
    with (place / "output").open("ab") as output:
        command = [str(found / program), "-D", str(place / "data"), *arguments]
        subprocess.run(command, check=True, cwd=place, stdout=output, stderr=output, timeout=60, **user)


def schema(socket: str) -> str:
    """The URL of a new schema in the server of this socket folder."""
    import psycopg

    name = "t" + os.urandom(6).hex()
    with psycopg.connect(host=socket, user="postgres", dbname="postgres", autocommit=True) as connection:
        connection.execute(f"create schema {name}")  # pyright: ignore
    return f"postgresql+psycopg://postgres@/postgres?host={socket}&options=-csearch_path%3D{name}"
