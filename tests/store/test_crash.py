"""A push that is killed, at every single change of the disk and at random moments."""

import random
import subprocess
import sys
from pathlib import Path

import pytest

from argosy.spec.settings import Home, Settings
from argosy.store import open_store
from tests.store.samples import FILES, model_lineage, model_manifest, write_folder

ROOT = Path(__file__).parents[2]


def test_a_push_that_dies_at_any_change_of_the_disk_leaves_the_store_whole(tmp_path: Path):
    command = [sys.executable, "-m", "tests.store.crashing", str(tmp_path)]
    result = subprocess.run(command, cwd=ROOT, check=True, stdout=subprocess.PIPE, text=True, timeout=100)
    assert int(result.stdout.split()[0]) > 50


@pytest.mark.slow
def test_a_store_outlives_kills_at_random_moments(tmp_path: Path):
    folder = write_folder(tmp_path / "package", FILES | {"weights/large": random.Random(1).randbytes(3_000_000)})
    command = [sys.executable, "-m", "tests.store.pushing", str(tmp_path / "home"), str(folder), "20"]
    subprocess.run(command, cwd=ROOT, check=True, timeout=100)
    store = open_store(Home(tmp_path / "home"), Settings())
    for version in store.registry.versions("digits"):
        store.layout.verify(version.digest)
        assert store.lineage(version.digest) == [model_lineage()]
    again = store.add(folder, name="digits", manifest=model_manifest(), lineage=model_lineage())
    store.layout.verify(again.digest)
    store.collect(grace=0)
    kept = store.registry.digests()
    attached = {item.digest for digest in kept for item in store.layout.referrers(digest)}
    assert store.layout.index.digests() == kept | attached
    assert list(store.layout.blobs.temporary.iterdir()) == []
    for digest in kept:
        store.layout.verify(digest)
    store.close()
