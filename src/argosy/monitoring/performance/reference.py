"""The labelled rows an endpoint names: copied by their content, and scored once by each version that serves.

Files in `HOME/references`: `<sha256>.parquet` (or .csv, .npz), a copy of what the user gave, and `<key>.scored`, what
a version answers to it. A later change of the user's file does nothing until the endpoint is declared anew.
"""

import hashlib
import math
import os
import re
import shutil
import tempfile
import time
from collections.abc import Iterable
from pathlib import Path

import msgspec

from argosy.monitoring.feedback.event import plain
from argosy.monitoring.performance.roles import Roles, roles
from argosy.monitoring.performance.rows import Rows, rows, texts_of, wanted
from argosy.packaging import environment, labelled, quarantine
from argosy.packaging.labelled import LABEL, MOST_BYTES, Labelled, Scoring
from argosy.packaging.package import Package
from argosy.profiles.languages import reference as reference_of
from argosy.profiles.layout import layout
from argosy.profiles.profile import Hidden
from argosy.spec.endpoint import Endpoint
from argosy.spec.errors import InvalidArgument, NotFound, PayloadTooLarge
from argosy.spec.monitor import Monitor
from argosy.spec.payload import PayloadLog
from argosy.spec.settings import Home
from argosy.store.durable import replace, storage

PINNED = re.compile(r"(?P<path>.+)@sha256:(?P<sha>[0-9a-f]{64})", re.DOTALL)
SCORING = quarantine.Limits(seconds=300.0, file_size=2 * quarantine.GIB)
UNUSED = 86400.0
"""Seconds after which what no declaration names is removed."""


class Reference(msgspec.Struct, frozen=True, eq=False):
    """Scored rows with their labels, and what windows need to become numbers in the same way."""

    rows: Rows
    texts: dict[str, list[str]]


def folder(home: Home) -> Path:
    """Where references lie."""
    return home.root / "references"


def pinned(endpoint: Endpoint) -> Endpoint:
    """The endpoint with its reference named by content, too: `/data/held-out.parquet@sha256:…`. One that is named so
    already stays. Raises NotFound, InvalidArgument, PayloadTooLarge."""
    monitor = endpoint.monitor
    if monitor is None or not monitor.reference or PINNED.fullmatch(monitor.reference):
        return endpoint
    path = Path(monitor.reference)
    if not path.is_absolute():
        raise InvalidArgument(f"monitor.reference must be an absolute path here, not '{monitor.reference[:200]}'")
    name = f"{path}@sha256:{hashlib.sha256(_content(path)).hexdigest()}"
    return msgspec.structs.replace(endpoint, monitor=msgspec.structs.replace(monitor, reference=name))


def path_of(monitor: Monitor) -> str:
    """The file that a reference names, whether it is pinned or not."""
    match = PINNED.fullmatch(monitor.reference)
    return match["path"] if match else monitor.reference


def _content(path: Path) -> bytes:
    if path.suffix.lower() not in labelled.KINDS:
        raise InvalidArgument(f"monitor.reference is a file of the kind {', '.join(labelled.KINDS)}, not {path}")
    try:
        with path.open("rb") as file:
            data = file.read(MOST_BYTES + 1)
    except (FileNotFoundError, IsADirectoryError, NotADirectoryError):
        raise NotFound(f"monitor.reference: there is no file {path} on the machine of the platform") from None
    except OSError as error:
        raise InvalidArgument(f"monitor.reference: {path} cannot be read: {error.strerror}") from None
    if len(data) > MOST_BYTES:
        raise PayloadTooLarge(f"monitor.reference: {path} has more than {MOST_BYTES} bytes: draw rows at random")
    return data


def copied(home: Home, monitor: Monitor) -> Path:
    """The copy of a pinned reference, made if it is not there. Raises NotFound where the file is gone or has changed,
    and there is no copy."""
    match = PINNED.fullmatch(monitor.reference)
    if match is None:
        raise InvalidArgument(f"'{monitor.reference[:200]}' is not named by its content")
    given, place = Path(match["path"]), folder(home)
    copy = place / f"{match['sha']}{given.suffix.lower()}"
    if copy.is_file():
        return copy
    data = _content(given)
    if hashlib.sha256(data).hexdigest() != match["sha"]:
        raise NotFound(
            f"monitor.reference: {given} is not the file of {match['sha'][:12]}…, and that one is not kept here; name "
            "the path alone to take the file as it is"
        )
    place.mkdir(exist_ok=True, mode=0o700)
    with storage(place):
        replace(copy, data, place, mode=0o600)
    return copy


def check_monitorable(home: Home, endpoint: Endpoint, package: Package) -> None:
    """Raises InvalidArgument where the monitor names columns that the model lacks or the log hides, or a reference
    that does not fit. A pinned reference is copied."""
    monitor = endpoint.monitor
    if monitor is None:
        return
    if monitor.segments or endpoint.payload is None:
        _check_segments(monitor.segments, endpoint.payload or PayloadLog(), package)
    if evaluated(endpoint) and endpoint.payload is not None:
        what = roles(monitor, package.manifest.recorded, endpoint.payload)
        if monitor.reference:
            _check_labels(home, monitor, package, endpoint.payload, what)


def evaluated(endpoint: Endpoint) -> bool:
    """Whether its performance is evaluated: a monitor with nothing but segments or a season is about drift alone."""
    monitor = endpoint.monitor
    if monitor is None or endpoint.payload is None:
        return False
    return bool(monitor.judges) or not (monitor.segments or monitor.season != "none")


def _check_segments(segments: tuple[str, ...], log: PayloadLog, package: Package) -> None:
    profile = reference_of(package)
    if profile is None:
        raise InvalidArgument(
            f"monitor: '{package.manifest.name}' was pushed without sample data, so that there is nothing to compare "
            "its columns with: push it with --sample FILE"
        )
    found = layout(profile, package.manifest.recorded)
    hidden = Hidden(found, log.redact, log.hash)
    for name in segments:
        place = found.index(name)
        if not found.columns[place].detailed:
            raise InvalidArgument(f"monitor.segments: '{name[:80]}' has no values in the model's profile")
        if hidden.covers(name):
            raise InvalidArgument(
                f"monitor.segments: '{name[:80]}' is hidden in the payload log, and segments would tell its values"
            )


def _check_labels(home: Home, monitor: Monitor, package: Package, log: PayloadLog, what: Roles) -> None:
    """Raises InvalidArgument unless the rows of a pinned reference fit the model and its labels the classes. Nothing is
    scored."""
    found = _run(home, copied(home, monitor), monitor, package, log, "")
    known = [count for text, count in found.values.items() if _fits(text, what)]
    if sum(known) < labelled.LEAST_ROWS:
        some = ", ".join(text[:40] for text in list(found.values)[:10])
        wanted = "numbers" if what.kind == "regression" else ", ".join(what.classes[:10])
        raise InvalidArgument(
            f"monitor.reference: the labels in the column '{monitor.label}' are {some}; the model's are {wanted}: see "
            "monitor.classes"
        )


def _fits(label: str, what: Roles) -> bool:
    if what.kind == "classification":
        return plain(label) in what.classes or not what.classes
    try:
        return math.isfinite(float(label))
    except ValueError:
        return False


def scored(home: Home, monitor: Monitor, package: Package, digest: str, log: PayloadLog) -> Path:
    """What the package of this digest answers to the reference: a file, made in a child process if it is not there.

    Raises what `labelled.score` raises, BadPackage, StorageFull.
    """
    copy = copied(home, monitor)
    facts = (copy.name, digest, monitor.label, sorted(log.redact), sorted(log.hash), log.max_elements, log.max_text)
    into = folder(home) / f"{hashlib.sha256(msgspec.json.encode(facts)).hexdigest()[:32]}.scored"
    if not into.is_file():
        with tempfile.TemporaryDirectory(prefix="scoring-", dir=folder(home)) as place:
            _run(home, copy, monitor, package, log, place)
            made = Path(place, labelled.SCORED)
            made.chmod(0o600)
            made.replace(into)
    os.utime(into)
    return into


def _run(home: Home, source: Path, monitor: Monitor, package: Package, log: PayloadLog, into: str) -> Labelled:
    name = Path(path_of(monitor)).name
    job = Scoring(
        source=str(source),
        name=name,
        label=monitor.label,
        folder=str(package.folder),
        trusted=package.trusted,
        log=log,
        into=into,
    )
    function = "argosy.packaging.labelled:score"
    packages = environment.prepare(home, package.needs)
    with quarantine.Quarantine(f"scoring {name}", SCORING, 10, packages=packages) as place:
        return place.run(function, job, Labelled)


def read(path: Path, roles: Roles) -> Reference:
    """The rows of a scored file. Raises InvalidArgument where too few of them can be used."""
    from argosy.store.payloads.encode import parquet

    table = parquet().read_table(path, columns=wanted(roles, LABEL))
    texts = texts_of(table, roles)
    found = rows(table, roles, texts, LABEL)
    if len(found.decided) < labelled.LEAST_ROWS:
        raise InvalidArgument(
            f"of {found.total} reference rows only {len(found.decided)} can be judged: the others have labels or "
            "decisions that are none of the classes, or scores that are no numbers"
        )
    return Reference(found, texts)


def forget(home: Home, monitors: Iterable[Monitor], now: float | None = None) -> None:
    """Remove the copies and answers that no declaration has needed for a day."""
    moment = time.time() if now is None else now
    named = [match["sha"] for each in monitors if (match := PINNED.fullmatch(each.reference))]
    for path in folder(home).glob("*"):
        old = moment - path.stat().st_mtime > UNUSED
        if old and (path.suffix == ".scored" or not path.name.startswith(tuple(named) or "/")):
            shutil.rmtree(path, ignore_errors=True) if path.is_dir() else path.unlink(missing_ok=True)
