"""Envoy's own API description, cut out of its binary, so that a wrong field is found before Envoy sees it.

The generated C++ holds every `FileDescriptorProto` serialized, closed by a zero byte, which is no tag, or followed by
the next one. A file that occurs more than once (with and without its options) is taken in its longest form.
"""

import contextlib
import hashlib
import mmap
import os
import re
from collections.abc import Iterable, Iterator
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import msgspec

from argosy.process.envoy import Resource
from argosy.spec.errors import Internal, InvalidArgument

if TYPE_CHECKING:
    from google.protobuf.descriptor_pb2 import FileDescriptorProto
    from google.protobuf.descriptor_pool import DescriptorPool

_LENGTH_TAGS = frozenset((0x0A, 0x12, 0x1A, 0x22, 0x2A, 0x32, 0x3A, 0x42, 0x4A, 0x52, 0x5A, 0x62, 0x72))
_NAME_TAG = 0x0A
_VARINT_TAGS = frozenset((0x50, 0x58, 0x70))
_START = re.compile(rb"\n([\x07-\x7f])([a-zA-Z0-9_./-]+?\.proto)(?=[\x12\x1a\x22\x2a\x32\x3a\x42\x62])")
_NEEDED = "envoy.config.bootstrap.v3.Bootstrap"
EMPTY = {"@type": "type.googleapis.com/google.protobuf.Empty"}


class Descriptors:
    """The messages one Envoy binary knows. `cache_dir` keeps what was cut, by the binary's size and time."""

    def __init__(self, binary: str | Path, cache_dir: str | Path | None = None) -> None:
        self.binary = Path(binary)
        self.cache_dir = Path(cache_dir) if cache_dir else None
        self._checked: set[bytes] = set()

    @cached_property
    def pool(self) -> "DescriptorPool":
        """A pool of our own: nothing is registered in protobuf's default one."""
        from google.protobuf.descriptor_pool import DescriptorPool

        pool = DescriptorPool()
        for file in _ordered(self._files()):
            pool.Add(file)  # pyright: ignore[reportUnknownMemberType]
        return pool

    def check(self, resource: Resource, where: str, message: str = "") -> None:
        """Parses JSON data as `message`, or as what its own `@type` says, nested Anys included.

        Raises Internal with the field's name: whatever users may set has been checked before.
        """
        from google.protobuf import json_format
        from google.protobuf.message_factory import GetMessageClass

        kind = message or "google.protobuf.Any"
        try:
            target = GetMessageClass(self.pool.FindMessageTypeByName(kind))()
            json_format.ParseDict(resource, target, descriptor_pool=self.pool)
        except json_format.ParseError as error:
            raise Internal(f"{where} does not fit this Envoy ({self.binary}): {error}") from None
        except KeyError:
            raise Internal(f"this Envoy ({self.binary}) knows no {kind}, needed for {where}") from None

    def check_all(self, files: dict[str, list[Resource]]) -> None:
        """`check` for every resource of a snapshot's files. What they hold as Any, over and over, is checked once."""
        for file, resources in files.items():
            for number, resource in enumerate(resources):
                try:
                    self._cut(resource)
                except Internal:
                    self.check(resource, f"{file}[{number}]")  # names the field by its whole path
                    raise

    def _cut(self, value: Any) -> Any:
        """The data with an empty message for each Any, which has been checked."""
        if isinstance(value, list):
            return [self._cut(each) for each in cast("list[Any]", value)]
        if not isinstance(value, dict):
            return value
        cut = {name: self._cut(each) for name, each in cast("dict[str, Any]", value).items()}
        if "@type" not in cut:
            return cut
        if (key := msgspec.json.encode(cut, order="sorted")) not in self._checked:
            self.check(cut, cut["@type"])
            self._checked.add(key)
        return EMPTY

    def _files(self) -> "dict[str, FileDescriptorProto]":
        from google.protobuf.descriptor_pb2 import FileDescriptorSet

        kept = self._cache_file()
        if kept is not None and kept.exists():
            return {file.name: file for file in FileDescriptorSet.FromString(kept.read_bytes()).file}
        found = cut(self.binary)
        if kept is not None:
            _keep(kept, FileDescriptorSet(file=found.values()).SerializeToString())
        return found

    def _cache_file(self) -> Path | None:
        if self.cache_dir is None:
            return None
        stat = self.binary.stat()
        mark = hashlib.sha256(f"{self.binary}\0{stat.st_size}\0{stat.st_mtime_ns}".encode()).hexdigest()[:16]
        return self.cache_dir / f"envoy-api-{mark}.pb"


def cut(binary: Path) -> "dict[str, FileDescriptorProto]":
    """Every FileDescriptorProto in the binary, by file name. Raises InvalidArgument if this is no Envoy."""
    from google.protobuf.descriptor_pb2 import FileDescriptorProto
    from google.protobuf.message import DecodeError

    found: dict[str, FileDescriptorProto] = {}
    sizes: dict[str, int] = {}
    for blob in _blobs(binary):
        try:
            file = FileDescriptorProto.FromString(blob)
        except DecodeError:
            continue
        if len(blob) > sizes.get(file.name, 0):
            found[file.name], sizes[file.name] = file, len(blob)
    if not any(file.package == _NEEDED.rpartition(".")[0] for file in found.values()):
        raise InvalidArgument(f"{binary} holds no Envoy API: is it an Envoy binary? See the setting gateway.envoy")
    return found


def _blobs(binary: Path) -> Iterator[bytes]:
    try:
        with binary.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
            for match in _START.finditer(data):
                start = match.start()
                if data[start + 1] == len(match.group(2)):
                    yield data[start : _end(data, start)]
    except (OSError, ValueError) as error:
        raise InvalidArgument(f"the Envoy binary {binary} cannot be read: {error}") from None


def _end(data: mmap.mmap, at: int) -> int:
    """Walks the top-level fields until something is none, or the next file's name."""
    size, start = len(data), at
    while at < size:
        tag = data[at]
        if (tag not in _LENGTH_TAGS and tag not in _VARINT_TAGS) or (tag == _NAME_TAG and at > start):
            break
        value, after = _varint(data, at + 1)
        if value < 0:
            break
        at = after + value if tag in _LENGTH_TAGS else after
    return at


def _varint(data: mmap.mmap, at: int) -> tuple[int, int]:
    value = 0
    for number in range(5):
        if at + number >= len(data):
            break
        part = data[at + number]
        value |= (part & 0x7F) << (7 * number)
        if part < 0x80:
            return value, at + number + 1
    return -1, at


def _ordered(files: "dict[str, FileDescriptorProto]") -> "Iterable[FileDescriptorProto]":
    """Dependencies first; a file that leans on one that is absent is left out."""
    done: dict[str, FileDescriptorProto | None] = {}

    def visit(name: str) -> bool:
        if name not in done:
            done[name] = None
            file = files.get(name)
            if file is not None and all(visit(each) for each in file.dependency):
                done.pop(name)
                done[name] = file
        return done[name] is not None

    for name in files:
        visit(name)
    return [file for file in done.values() if file is not None]


def _keep(path: Path, data: bytes) -> None:
    """For the next start; where the disk is full or read-only, the next start looks into the binary again."""
    temporary = path.with_suffix(f".{os.getpid()}.tmp")
    with contextlib.suppress(OSError):
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            temporary.write_bytes(data)
            temporary.replace(path)
        finally:
            temporary.unlink(missing_ok=True)
