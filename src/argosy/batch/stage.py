"""Where the files of a fragment grow before its entry is created, and how they get to the output."""

import hashlib
import re
import shutil
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from argosy.batch.fragment import Part
from argosy.batch.ledger import FOLDER, Entry
from argosy.batch.place import Place, refused
from argosy.batch.plan import TOGETHER
from argosy.spec.errors import NotFound, Unavailable
from argosy.spec.settings import home
from argosy.store import objects
from argosy.store.durable import sync_folder

PART = re.compile(r"part-\d{6,}-[0-9a-f]{8}\.[a-z]+")
"""The names of files in the output, as `name` makes them."""


def name(number: int, fragment: str, ending: str) -> str:
    """The name of a file of a fragment: in the order of the plan, and another one for another content."""
    return f"part-{number:06d}-{fragment[:8]}.{ending}"


def scratch(output: Place) -> Path:
    """The folder for what is not committed: on the disk of the output; for a bucket, in ARGOSY_HOME."""
    if not output.remote:
        return Path(output.url) / FOLDER
    return home().root / "batch" / hashlib.sha256(output.url.encode()).hexdigest()[:32]


class Stage:
    """The fragments of one job on their way."""

    def __init__(self, output: Place) -> None:
        self.output = output
        self.root = scratch(output)

    def create(self) -> None:
        for name in ("staged", "spool"):
            (self.root / name).mkdir(parents=True, exist_ok=True)

    def folder(self, fragment: str) -> Path:
        """Where the files of a fragment are written, under their names in the output."""
        return self.root / "staged" / fragment

    def spool(self, fragment: str) -> Path:
        """The file of what a fragment has answered so far."""
        return self.root / "spool" / fragment

    def deliver(self, fragment: str, files: tuple[Part, ...]) -> None:
        """Before the entry. Into a bucket files are put under their names, since objects cannot be moved."""
        if self.output.remote:
            for part in files:
                objects.put(self.output.join(part.name).url, self.folder(fragment) / part.name)

    def settle(self, entry: Entry) -> None:
        """After the entry: give its files their names, durably. Those that have them are left alone."""
        folder = self.folder(entry.fragment)
        for part in () if self.output.remote else entry.files:
            staged, to = folder / part.name, Path(self.output.join(part.name).url)
            if staged.exists():
                with refused(str(staged)):
                    to.parent.mkdir(parents=True, exist_ok=True)
                    staged.replace(to)
                    sync_folder(to.parent)
        shutil.rmtree(folder, ignore_errors=True)

    def clear(self) -> None:
        """Everything is done: nothing of this is needed."""
        for name in ("staged", "spool"):
            shutil.rmtree(self.root / name, ignore_errors=True)


def check(output: Place, entries: Sequence[Entry]) -> None:
    """Raise Unavailable unless every file of the entries lies in the output with the size that was written.

    What a worker that was killed has put into a bucket without an entry is deleted: nobody else writes there.
    """
    written = {output.join(part.name): part for entry in entries for part in entry.files}
    with ThreadPoolExecutor(TOGETHER) as pool:
        sizes = list(pool.map(_size, written))
    for (file, part), size in zip(written.items(), sizes, strict=True):
        if size != part.size:
            raise Unavailable(f"{file} is not as it was written ({part.size} bytes): write to another folder")
    if output.remote:
        for file in set(output.walk()) - set(written):
            if PART.fullmatch(file.name):
                file.delete()


def _size(file: Place) -> int:
    try:
        return file.stamp().size
    except NotFound:
        return -1
