"""Layers: compressed once, kept by the digest of what they were made of, and taken from there the next time."""

import contextlib
import gzip
import hashlib
import io
import os
from collections.abc import Callable, Generator
from pathlib import Path
from typing import IO, Any, Literal, cast

import msgspec

from argosy.images.tree import Tree
from argosy.process.cores import cores
from argosy.spec.errors import MissingExtra
from argosy.spec.install import extras, pip
from argosy.store.durable import replace, storage, sweep
from argosy.store.manifest import canonical

Compression = Literal["zstd", "gzip"]
LEVELS: dict[Compression, int] = {"zstd": 8, "gzip": 6}
"""Above these a layer takes several times as long and is less than 1 % smaller."""
WINDOW = 23
"""zstd looks back 8 MiB, as far as every decoder has to support (RFC 8878, 3.1.1.1.2)."""
LEFT = 86_400.0
"""Seconds after which a layer that is half written is one of a build that was killed."""
UNUSED = 30 * 86_400.0
"""Seconds after which a layer that no build took is deleted: each version of a model leaves one."""
FORMAT = 2
"""Counts up when the same inputs give other bytes."""


class Layer(msgspec.Struct, frozen=True, kw_only=True):
    """One layer: `digest` and `size` of the compressed blob, `diff_id` of the archive in it, what made it."""

    digest: str
    size: int
    diff_id: str
    media_type: str
    created_by: str = ""


class LayerCache:
    """Layers by the digest of their inputs in a folder, which can be deleted at any time."""

    def __init__(self, folder: Path, compression: Compression, epoch: int) -> None:
        self.folder = folder
        self.compression: Compression = compression
        self.epoch = epoch
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        sweep(folder.glob("*.tmp"), LEFT)
        sweep(folder.iterdir(), UNUSED)

    def blob(self, layer: Layer) -> Path:
        """Where the compressed layer lies."""
        return self.folder / layer.digest.removeprefix("sha256:")

    def layer(self, created_by: str, inputs: Any, make: Callable[[], Tree]) -> Layer:
        """The layer of these inputs, which are JSON; `make` gives its files where it is not there yet. Raises
        StorageFull, MissingExtra, and what `make` raises."""
        key = hashlib.sha256(
            canonical([FORMAT, self.compression, LEVELS, WINDOW, self.epoch, created_by, inputs])
        ).hexdigest()
        record = self.folder / f"{key}.json"
        with contextlib.suppress(OSError, msgspec.MsgspecError):
            found = msgspec.json.decode(record.read_bytes(), type=Layer)
            if self.blob(found).stat().st_size == found.size:
                for path in (record, self.blob(found)):
                    os.utime(path)
                return found
        with storage(self.folder):
            made = self._write(make(), created_by)
            replace(record, canonical(made), self.folder)
        return made

    def _write(self, tree: Tree, created_by: str) -> Layer:
        scratch = self.folder / f"{os.getpid()}-{os.urandom(8).hex()}.tmp"
        try:
            with open(scratch, "xb") as file:
                compressed = Hashing(file)
                with _compressor(compressed, self.compression) as stream:
                    archive = Hashing(stream)
                    tree.write(cast("IO[bytes]", archive), self.epoch)
            layer = Layer(
                digest=f"sha256:{compressed.hasher.hexdigest()}",
                size=compressed.size,
                diff_id=f"sha256:{archive.hasher.hexdigest()}",
                media_type=f"application/vnd.oci.image.layer.v1.tar+{self.compression}",
                created_by=created_by,
            )
            scratch.chmod(0o444)
            scratch.rename(self.blob(layer))
        finally:
            scratch.unlink(missing_ok=True)
        return layer


class Hashing(io.RawIOBase):
    """Passes on what is written, and counts and hashes it."""

    def __init__(self, sink: IO[bytes]) -> None:
        self.sink, self.size, self.hasher = sink, 0, hashlib.sha256()

    def writable(self) -> bool:
        return True

    def write(self, data: Any, /) -> int:
        self.hasher.update(data)
        self.size += len(data)
        self.sink.write(data)
        return len(data)


@contextlib.contextmanager
def _compressor(sink: Hashing, compression: Compression) -> Generator[IO[bytes]]:
    """A stream that compresses into `sink`. Of zstd, any number of threads gives the same bytes, but none gives
    others."""
    if compression == "gzip":
        with gzip.GzipFile(filename="", mode="wb", compresslevel=LEVELS["gzip"], fileobj=sink, mtime=0) as stream:
            yield cast("IO[bytes]", stream)
        return
    try:
        import zstandard
    except ImportError:
        raise MissingExtra(
            f"zstd layers need the package zstandard: run  {pip()} {extras('images')}  or pass --compression gzip"
        ) from None
    threads = cores()
    parameters = cast("Any", zstandard.ZstdCompressionParameters)
    given = parameters.from_level(LEVELS["zstd"], window_log=WINDOW, threads=threads)
    compressor = zstandard.ZstdCompressor(compression_params=given)
    with compressor.stream_writer(cast("IO[bytes]", sink), closefd=False) as stream:
        yield cast("IO[bytes]", stream)
