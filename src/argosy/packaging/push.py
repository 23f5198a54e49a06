"""From a model on disk to a version in the registry."""

import os
import secrets
import shutil
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from argosy.packaging import lineage, quarantine
from argosy.packaging.build import Report, build, vouched
from argosy.packaging.load import CHECK, Check
from argosy.packaging.options import PushOptions
from argosy.store.durable import storage

if TYPE_CHECKING:
    from argosy.store.store import Store
    from argosy.store.version import Version


def push(source: Path, *, name: str, store: "Store", options: PushOptions, report: Report) -> "Version":
    """Package a model and register it under `name`.

    The same source with the same options gives the same version again. Until the registry has it nothing is visible;
    whatever fails, or a kill at any point, leaves the store as it was. `report` is given lines of progress. Raises
    what `build` raises, and GoldenMismatch where the finished package does not answer as the model did.
    """
    with staging(store.home.root) as place:
        folder = place / "package"
        manifest = build(source, name, folder, options, report)
        report(f"replaying {manifest.golden_rows} golden examples")
        limits, trusted = quarantine.Limits(seconds=options.seconds), vouched(manifest, options)
        job = Check(folder=str(folder), trusted=trusted)
        quarantine.run(CHECK, job, float, what=f"the package of {source.name}", limits=limits)
        report("storing")
        return store.add(folder, name=name, manifest=manifest, lineage=lineage.lineage_of(source), trusted=trusted)


@contextmanager
def staging(root: Path) -> Generator[Path]:
    """An empty folder on the disk of the store, gone afterwards. Folders of pushes that were killed go now."""
    parent = root / "staging"
    with storage(root):
        parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        _sweep(parent)
        place = parent / f"{os.getpid()}-{secrets.token_hex(6)}"
        place.mkdir()
    try:
        yield place
    finally:
        shutil.rmtree(place, ignore_errors=True)


def _sweep(parent: Path) -> None:
    import psutil

    for folder in parent.iterdir():
        owner = folder.name.partition("-")[0]
        if owner.isdecimal() and not psutil.pid_exists(int(owner)):
            shutil.rmtree(folder, ignore_errors=True)
