"""The files of a layer, and the tar archive of them: the same files give the same bytes.

Owner, group, modes and times are constants, names are sorted, folders are made for every file (OCI image-spec, layer).
"""

import io
import os
import re
import shutil
import struct
import tarfile
from collections.abc import Callable, Generator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, NamedTuple

FILE, PROGRAM, FOLDER = 0o644, 0o755, 0o755
_ELF64 = b"\x7fELF\x02\x01"


class Node(NamedTuple):
    """A file (its content, or where it lies), a link (its target) or a folder (neither). `strip`: an ELF file goes in
    without its symbols."""

    mode: int
    content: bytes | Path | None = None
    link: str = ""
    strip: bool = False

    @contextmanager
    def opened(self) -> Generator[tuple[IO[bytes], int]]:
        """The content as it goes into the image, and its size in bytes."""
        if isinstance(self.content, Path) and not self.strip:
            with self.content.open("rb") as file:
                yield file, os.fstat(file.fileno()).st_size
        else:
            data = self.read()
            yield io.BytesIO(data), len(data)

    def read(self) -> bytes:
        """All of the content at once."""
        data = self.content.read_bytes() if isinstance(self.content, Path) else self.content or b""
        return without_symbols(data) if self.strip and data.startswith(_ELF64) else data


class Tree:
    """Path, from the root of the image and without a slash before it → node."""

    def __init__(self) -> None:
        self.nodes: dict[str, Node] = {}

    def file(self, path: str, content: bytes | Path, *, program: bool = False, strip: bool = False) -> None:
        """Add a file that everybody may read."""
        self.nodes[path] = Node(PROGRAM if program else FILE, content, strip=strip)

    def link(self, path: str, target: str) -> None:
        self.nodes[path] = Node(0o777, link=target)

    def folder(self, path: str, mode: int = FOLDER) -> None:
        """Add a folder; those of files need not be added."""
        self.nodes[path] = Node(mode)

    def add_folder(self, source: Path, into: str, leave_out: re.Pattern[str] | None = None) -> None:
        """Add the files below a folder, without symbols, but for those whose path in it `leave_out` finds."""
        for folder, _, files in os.walk(source):
            for path in (Path(folder, name) for name in files):
                name = str(path)[len(str(source)) + 1 :]
                if not (leave_out and leave_out.search(name)) and path.is_file():
                    program = bool(path.stat().st_mode & 0o100) and not name.endswith(".py")
                    self.file(f"{into}/{name}", path, program=program, strip=True)

    def write(self, sink: IO[bytes], epoch: int = 0) -> None:
        """Write the archive; every time in it is `epoch`, in seconds since 1970."""
        with tarfile.open(fileobj=sink, mode="w|", format=tarfile.PAX_FORMAT, bufsize=1024 * 1024) as archive:
            for path, node in sorted(self._with_parents().items()):
                entry = tarfile.TarInfo(path)
                entry.mode, entry.mtime = node.mode, epoch
                if node.link:
                    entry.type, entry.linkname = tarfile.SYMTYPE, node.link
                    archive.addfile(entry)
                elif node.content is None:
                    entry.type = tarfile.DIRTYPE
                    archive.addfile(entry)
                else:
                    with node.opened() as (reader, entry.size):
                        archive.addfile(entry, reader)

    def _with_parents(self) -> dict[str, Node]:
        parents: dict[str, Node] = {}
        for path in self.nodes:
            while (path := path.rpartition("/")[0]) and path not in parents:
                parents[path] = Node(FOLDER)
        return parents | self.nodes

    def part(self, wanted: Callable[[str], bool]) -> "Tree":
        """Those of the files whose path is wanted."""
        part = Tree()
        part.nodes = {path: node for path, node in self.nodes.items() if wanted(path)}
        return part

    def unpack(self, into: Path) -> None:
        """Lay the files out below a folder of this machine, for its owner."""
        for path, node in sorted(self._with_parents().items()):
            target = into / path
            if node.link:
                target.symlink_to(node.link if not node.link.startswith("/") else into / node.link[1:])
            elif node.content is None:
                target.mkdir(exist_ok=True)
                target.chmod(node.mode)
            else:
                with node.opened() as (reader, _), target.open("wb") as writer:
                    shutil.copyfileobj(reader, writer, 1024 * 1024)
                target.chmod(node.mode)


def without_symbols(data: bytes) -> bytes:
    """An ELF file of 64 bits cut after its last segment, without its section table: what the loader maps is all there,
    symbols and debug sections are not (System V ABI, program header; as `sstrip` of ELF kickers)."""
    table, each, count = *struct.unpack_from("<Q", data, 32), *struct.unpack_from("<HH", data, 54)
    ends = [table + each * count]
    for index in range(count):
        start, size = struct.unpack_from("<Q16xQ", data, table + index * each + 8)
        ends.append(start + size)
    if (end := max(ends)) >= len(data):
        return data
    head = bytearray(data[:end])
    struct.pack_into("<Q", head, 40, 0)
    struct.pack_into("<HHH", head, 58, 0, 0, 0)
    return bytes(head)
