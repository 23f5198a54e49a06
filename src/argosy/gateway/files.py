"""The files Envoy watches. They are also the memory of what was given to it last: nothing else is kept."""

import contextlib
import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import msgspec

from argosy.process.envoy import Resource
from argosy.spec.errors import StorageFull


class Written(msgspec.Struct, frozen=True):
    """One file as it lies there: a `DiscoveryResponse`."""

    version_info: str
    resources: list[Any]


class XdsFiles:
    """A folder of discovery responses, each replaced whole by a rename, which is what Envoy notices."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        self._known: dict[str, Written] = {}
        for path in folder.glob("*.json"):
            # A file that a crash has left broken is written anew.
            with contextlib.suppress(OSError, msgspec.DecodeError):
                self._known[path.name] = msgspec.json.decode(path.read_bytes(), type=Written)
        versions = (each.version_info for each in self._known.values())
        self.version = max((int(each) for each in versions if each.isdecimal()), default=0)

    def get(self, file: str) -> Written | None:
        """What lies there."""
        return self._known.get(file)

    def names(self) -> set[str]:
        """Every file."""
        return set(self._known)

    def changed(self, files: dict[str, list[Resource]]) -> dict[str, list[Resource]]:
        """Those that differ from what lies there."""
        return {
            name: given
            for name, given in files.items()
            if name not in self._known or self._known[name].resources != given
        }

    def write(self, file: str, resources: list[Resource]) -> str:
        """Replaces one file and returns its new version, always a larger number. Raises StorageFull."""
        self.version += 1
        written = Written(str(self.version), resources)
        self._replace(file, written)
        self._known[file] = written
        return written.version_info

    def write_again(self, file: str) -> None:
        """The same content once more, for a rename that went unnoticed."""
        self._replace(file, self._known[file])

    def remove(self, files: Iterable[str]) -> None:
        """Files nobody watches any more."""
        for file in files:
            (self.folder / file).unlink(missing_ok=True)
            self._known.pop(file, None)

    def _replace(self, file: str, written: Written) -> None:
        temporary = self.folder / f"{file}.{os.getpid()}.tmp"
        try:
            with open(temporary, "wb") as out:
                out.write(msgspec.json.encode(written))
                out.flush()
                os.fsync(out.fileno())
            temporary.replace(self.folder / file)
        except OSError as error:
            with contextlib.suppress(OSError):
                temporary.unlink()
            raise StorageFull(f"the gateway's configuration cannot be written to {self.folder}: {error}") from None
