"""The actor that is the place of one replica: it starts the replica's process on its node, watches it and reports.

No request passes through it, and the process knows nothing of Ray. It ends with its actor, whatever ends that.
"""

import contextlib
import os
import shutil
import threading
import time
from pathlib import Path
from typing import Any

import msgspec

import argosy
from argosy.engines.base import require
from argosy.packaging import environment
from argosy.packaging.package import MANIFEST, open_package
from argosy.process import tail
from argosy.process.process import Process
from argosy.spec import settings
from argosy.spec.address import TlsIdentity
from argosy.spec.errors import ArgosyError, InvalidArgument
from argosy.spec.settings import Home
from argosy.store import open_layout
from argosy.store.durable import keep
from argosy.targets.backoff import REFUSED
from argosy.targets.launch import COMMAND, Launcher, Place, Unpacked, folder, free_ports, prepare
from argosy.targets.local import used_by
from argosy.targets.ray.wire import PlaceSpec, Report
from argosy.targets.tags import scan

NEED = "The target ray"
POLL = 5.0
"""Seconds that a question after news waits for some."""
MEASURED = 5.0
"""Seconds between two measurements of what the process uses."""
SAID = 64 * 1024
"""Bytes of its output that are reported at the end."""
STALE = 60.0
"""Seconds after which files that no process has are left over."""


class PlaceActor:
    """One replica. `spec` is a `PlaceSpec` as JSON; `watch` may be called while another call waits."""

    def __init__(self, spec: bytes) -> None:
        ray: Any = require("ray", "ray", NEED)
        node, host = ray.get_runtime_context().get_node_id(), ray.util.get_node_ip_address()
        self._spec = msgspec.json.decode(spec, type=PlaceSpec)
        kept = msgspec.structs.replace(self._spec, files={})
        self._report = Report(spec=kept, phase="preparing", node=node, host=host)
        self._news, self._number = threading.Condition(), 0
        self._process: Process | None = None
        self._place: Place | None = None
        self._unwanted = False
        threading.Thread(target=self._work, name="place", daemon=True).start()

    def watch(self, since: int) -> tuple[int, bytes]:
        """The report, as JSON, and its number: at once if it is not the one of `since`, else when it is new, or after a
        while."""
        with self._news:
            self._news.wait_for(lambda: self._number != since, POLL)
            return self._number, msgspec.json.encode(self._report)

    def end(self, kill: bool) -> None:
        """Have the process drain and end, or end it at once."""
        self._unwanted = True
        if self._process is not None:
            self._process.kill() if kill else self._process.terminate()

    def renew(self, files: dict[str, str]) -> None:
        """Give the process other certificates."""
        if self._place is not None:
            _write(self._place.certificates, files)

    def _note(self, **found: Any) -> None:
        with self._news:
            self._report, self._number = msgspec.structs.replace(self._report, **found), self._number + 1
            self._news.notify_all()

    def _work(self) -> None:
        """In a thread that lives as long as the process: Linux ends that with the thread that started it."""
        status, said = None, ""
        try:
            status, said = self._run()
        except (ArgosyError, OSError) as error:
            status, said = REFUSED if isinstance(error, InvalidArgument) else 1, f"error: {error}"
        except BaseException as error:
            status, said = 1, f"a bug in a place on Ray: {type(error).__name__}: {error}"
            raise
        finally:
            if self._place is not None:
                self._place.clear()
                self._place.log.unlink(missing_ok=True)
            over = self._process.over if self._process is not None else time.time()
            self._note(phase="ended", ended=over, status=status, said=said)

    def _run(self) -> tuple[int | None, str]:
        """From the package to the end of the process: its status, and what it said last. Raises what forbids it."""
        spec = self._spec
        found = package(spec)
        if self._unwanted:
            return None, ""
        home = Home(settings.home().root / "ray").create()
        self._place = place = _place(spec, home, self._report.host)
        command, envoy = spec.command or COMMAND, settings.load(settings.home()).gateway.envoy
        launcher = Launcher(home=home, command=command, tracing=spec.tracing, bound=True, envoy=envoy)
        self._process = process = launcher.start(place, spec.revision, spec.slot, package=found, threads=1)
        self._note(phase="running", started=process.started, ports=place.ports)
        if self._unwanted:
            process.terminate()
        due = 0.0
        while not process.wait(0.5):
            if time.monotonic() >= due:
                due = time.monotonic() + MEASURED
                used = used_by({process.pid: spec.name})[spec.name]
                self._note(memory=used.memory, cpu=used.cpu)
        return process.status, tail.end(place.log, SAID).decode(errors="replace")


def _place(spec: PlaceSpec, home: Home, host: str) -> Place:
    """Names, ports and certificates on this node. What others left here whose actors were killed is removed."""
    prepare(home)
    lives = {each.record.short.partition("/")[0] for each in scan(home.root) if each.record}
    for path in folder(home).iterdir():
        with contextlib.suppress(OSError):
            if path.name.partition(".")[0] not in lives and time.time() - path.stat().st_mtime > STALE:
                shutil.rmtree(path) if path.is_dir() else path.unlink()
    first, last = spec.ports
    certificates = Place(home, spec.replica, spec.short).certificates
    certificates.mkdir(mode=0o700)
    _write(certificates, spec.files)
    identity = TlsIdentity(name=spec.identity, files=str(certificates))
    found, language = free_ports(host, range(first, last + 1)), spec.revision.language is not None
    place = Place(home, spec.replica, spec.short, found, identity, host, language=language)
    place.log = home.logs / f"{spec.replica}-{place.work.name}.log"
    return place


def package(spec: PlaceSpec) -> Unpacked:
    """The package of a place with what it requires, on this node. Raises InvalidArgument where it cannot be had or has
    another Argosy, and what fetching it raises."""
    if spec.version != argosy.__version__:
        raise InvalidArgument(
            f"the nodes of the Ray cluster have Argosy {argosy.__version__}, the platform {spec.version}: install "
            "the same on all"
        )
    home, source = settings.home(), Path(spec.folder)
    if spec.blobs:
        os.environ["ARGOSY_STORE_BLOBS"] = spec.blobs
        digest, source = spec.revision.digest, home.create().package(spec.revision.digest)
        open_layout(home, settings.load(home)).unpacked(digest, source)
    elif not source.is_dir():
        raise InvalidArgument(
            f"the node does not see the files of the platform ({source}): set store.blobs to a registry or a bucket "
            "that all nodes reach, or put ARGOSY_HOME on a file system that they share"
        )
    packages = None
    if (source / MANIFEST).is_file():
        found = open_package(source, trusted=spec.trusted, stored=spec.revision.digest)
        packages = environment.prepare(home, found.needs)
    return Unpacked(source, spec.trusted, spec.signed, packages)


def _write(folder: Path, files: dict[str, str]) -> None:
    for name, text in files.items():
        keep(folder / name, text.encode())
