"""From a model on disk, a registry or a bucket to a version, and proof that it still is what was pushed."""

import os
import secrets
import shutil
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from argosy.engines.language.process import engine_of
from argosy.packaging import environment, lineage
from argosy.packaging import lock as locks
from argosy.packaging.build import build, vouched
from argosy.packaging.detect import detect, is_language
from argosy.packaging.environment import Report
from argosy.packaging.language import build as language
from argosy.packaging.language import engine, golden, hub
from argosy.packaging.load import CHECK, Check
from argosy.packaging.options import PushOptions
from argosy.packaging.package import Package, open_package, stored
from argosy.packaging.quarantine import Limits, Quarantine
from argosy.spec.endpoint import check_name
from argosy.spec.errors import InvalidArgument
from argosy.store.durable import storage

if TYPE_CHECKING:
    from argosy.store.oci.reference import RemoteReference
    from argosy.store.oci.remote import Remote
    from argosy.store.store import Store
    from argosy.store.version import Version


def push(source: Path, *, name: str, store: "Store", options: PushOptions, report: Report) -> "Version":
    """Package a model and register it under `name`.

    The same source with the same options gives the same version again. Until the registry has it nothing is visible;
    whatever fails, or a kill at any point, leaves the store as it was. `report` is given lines of progress. Raises
    what `build` raises, and GoldenMismatch where the finished package does not answer as the model did.
    """
    located, origin = hub.locate(source, report) if hub.is_hub(source) else (source, "")
    if is_language(located):
        return _push_language(located, origin, name, store, options, report)
    if options.prompts or options.base or origin:
        raise InvalidArgument(f"{source} is no language model, so it has no prompts, no base, and no place on the Hub")
    with staging(store.home.root) as place:
        folder = place / "package"
        manifest = build(source, name, folder, options, report, store.home)
        report(f"replaying {manifest.golden_rows} golden examples")
        package = Package(folder, manifest, vouched(manifest, options))
        lock = replay(store, package, f"the package of {source.name}", options.seconds, report)[1]
        report("storing")
        here = lineage.lineage_of(source)
        version = store.add(folder, name=name, manifest=manifest, lineage=here, trusted=package.trusted)
        if lock:
            store.layout.attach(version.digest, locks.LOCK, lock.encode(), locks.LOCK)
        return version


def _push_language(
    source: Path, origin: str, name: str, store: "Store", options: PushOptions, report: Report
) -> "Version":
    check_name(name, "model name")
    base = stored(store, store.registry.resolve(options.base).digest) if options.base else None
    with staging(store.home.root) as place, storage(store.home.root):
        folder, found = place / "package", detect(source, options.engine or None)
        if base is not None:
            found = msgspec.structs.replace(found, engine=base.manifest.engine)
        engine_of(found.engine)
        built = language.build(found, name, folder, options, report, engine.running, source=origin, base=base)
        report("storing")
        here = lineage.lineage_from(origin) if origin else lineage.lineage_of(source)
        trusted, hashed = vouched(built.manifest, options), built.hashed
        return store.add(folder, name=name, manifest=built.manifest, lineage=here, trusted=trusted, hashed=hashed)


def pull(store: "Store", remote: "Remote", reference: "RemoteReference", *, name: str = "", trust: bool) -> "Version":
    """Fetch a package with what refers to it, and register it under `name`, or under its own.

    What is said there of who made it vouches for nothing: only with `trust` may it run code of its author, and it
    is the caller who vouches then. Raises what `store.oci.pull.pull` raises, and BadPackage for a broken model.yaml.
    """
    from argosy.store.oci.pull import pull as fetch

    digest = fetch(remote, reference, store.layout, store.layout.transfers)
    manifest = open_package(store.unpacked(digest)).manifest
    here = lineage.lineage_from(f"{reference.place}@{digest}")
    trusted = trust and manifest.scan.verdict != "data-only"
    return store.enter(digest, name=name or manifest.name, manifest=manifest, lineage=here, trusted=trusted)


def replay(store: "Store", package: Package, what: str, seconds: float, report: Report) -> tuple[float, str]:
    """The largest difference to the golden examples, and the lock of what was installed for it."""
    lock = environment.wanted(store.home, package.needs, report)
    packages = environment.make(store.home, lock, report)
    job, limits = Check(folder=str(package.folder), trusted=package.trusted), Limits(seconds=seconds)
    with Quarantine(what, limits, packages=packages) as place:
        return place.run(CHECK, job, float), lock


class Verification(msgspec.Struct, frozen=True, kw_only=True):
    """What was verified: every file by its digest, every golden row within the tolerance. Sizes in bytes. `compared`
    says of a language model what was compared, and how."""

    ref: str
    digest: str
    files: int
    size: int
    golden_rows: int
    max_difference: float
    compared: str = ""


def verify(store: "Store", ref: str, *, seconds: float = 600.0, report: Report = lambda step: None) -> Verification:
    """Re-hash a package and replay its golden examples in a child process, with what it requires. Raises NotFound,
    BadPackage naming the file that was altered, GoldenMismatch naming the output that differs."""
    version = store.registry.resolve(ref)
    store.layout.verify(version.digest)
    package, largest, compared = stored(store, version.digest), 0.0, ""
    if package.manifest.language is None:
        largest, _ = replay(store, package, version.ref, seconds, report)
    else:
        report(f"starting {version.engine}")
        base = package.manifest.language.base
        with engine.running(package, stored(store, base) if base else None) as asked:
            found = golden.replay(asked, engine.identity(version.engine), golden.read(package.folder))
        largest, compared = found.gap, found.said
    return Verification(
        ref=version.ref,
        digest=version.digest,
        files=len(store.layout.files(version.digest)),
        size=version.size,
        golden_rows=version.manifest.golden_rows,
        max_difference=largest,
        compared=compared,
    )


@contextmanager
def staging(root: Path) -> Generator[Path]:
    """An empty folder on the disk of the store, gone afterwards. Folders of pushes that were killed go now."""
    import psutil

    parent = root / "staging"
    with storage(root):
        parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        for folder in parent.iterdir():
            owner = folder.name.partition("-")[0]
            if owner.isdecimal() and not psutil.pid_exists(int(owner)):
                shutil.rmtree(folder, ignore_errors=True)
        place = parent / f"{os.getpid()}-{secrets.token_hex(6)}"
        place.mkdir()
    try:
        yield place
    finally:
        shutil.rmtree(place, ignore_errors=True)
