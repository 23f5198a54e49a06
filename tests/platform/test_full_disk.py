"""A disk that is full: nothing that runs ends, what cannot be written is refused whole, and it goes on by itself."""

import contextlib
import os
import signal
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx
import pytest

from argosy.spec.settings import Home, Settings
from argosy.store import open_store
from tests.platform.up import STAND_IN_UP, Up, clear, until
from tests.store.samples import model_lineage, model_manifest, write_folder


class Disk:
    """A small file system of its own. `fill` leaves nothing of it, `free` gives it back."""

    def __init__(self, root: Path) -> None:
        self.root, self.ballast = root, root / "ballast"

    def fill(self) -> None:
        with self.ballast.open("ab", buffering=0) as file, contextlib.suppress(OSError):
            for size in (65536, 4096, 1):
                with contextlib.suppress(OSError):
                    while True:
                        file.write(b"\0" * size)

    def free(self) -> None:
        self.ballast.unlink()


@pytest.fixture
def disk(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Disk]:
    root = tmp_path_factory.mktemp("d")
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=16m", "none", root], check=False, capture_output=True)
    if mounted.returncode:
        pytest.skip(f"no file system can be mounted here: {mounted.stderr.decode().strip()}")
    yield Disk(root)
    subprocess.run(["umount", "-l", str(root)], check=True)


@pytest.fixture
def home(disk: Disk) -> Iterator[Home]:
    place = Home(disk.root / "h").create()
    place.config.write_text("control: {port: 0}\ngateway: {port: 0}\n")
    yield place
    clear(place)


@pytest.mark.slow
def test_a_full_disk_ends_nothing_and_loses_nothing(home: Home, disk: Disk, start: Callable[..., Up]):
    store = open_store(home, Settings())
    folder = write_folder(home.root / "package")
    (folder / "behaviour").write_text("ok")
    package = store.add(folder, name="digits", manifest=model_manifest(), lineage=model_lineage()).ref
    store.close()
    platform = start(STAND_IN_UP).ready()
    path, spec = "/v1/endpoints/digits", {"model": package, "replicas": 2, "public": True}
    url = platform.call("PUT", path, spec, wait=60)["url"]
    first = platform.pids()

    disk.fill()
    tries, last = 0, platform.call("GET", path)["generation"]
    while (answer := platform.ask("PUT", path, json={**spec, "timeout": 100 + tries})).status_code == 200:
        tries, last = tries + 1, answer.json()["endpoint"]["generation"]
        assert tries < 2000, "the database finds room for ever"
    assert (answer.status_code, answer.json()["code"]) == (507, "storage_full")
    assert "free some and repeat" in answer.json()["error"]
    assert platform.call("GET", path)["generation"] == last
    assert httpx.post(url, json={}).status_code == 200

    os.kill(first[0], signal.SIGKILL)
    until(lambda: first[0] not in platform.pids())
    assert httpx.post(url, json={}).status_code == 200
    platform.kill()
    second = start(STAND_IN_UP)
    assert second.process.wait(60) == 1
    assert "no space left" in second.out.read_text()
    assert httpx.post(url, json={}).status_code == 200, "who cannot start ends nothing"

    disk.free()
    platform = start(STAND_IN_UP).ready()
    until(lambda: len(platform.pids()) == 2)
    assert first[1] in platform.pids()
    found = platform.call("PUT", path, {**spec, "replicas": 1}, wait=60)["endpoint"]
    assert (found["state"], found["generation"]) == ("ready", last + 1)
    assert httpx.post(url, json={}).status_code == 200
    assert platform.call("GET", "/v1/status")["error"] == ""
    assert platform.call("GET", "/v1/ledger")["broken"] is None
    assert platform.stop() == 0
