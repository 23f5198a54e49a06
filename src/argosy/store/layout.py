"""The content-addressed store: an OCI image layout on disk, each package an artifact of the CNCF ModelPack kind.

Files of a layout (OCI image-spec 1.1, image-layout): `oci-layout`, `index.json`, `blobs/sha256/<hex>`. Ours besides:
`.lock`, held for moments, `.tmp`, where blobs grow before they get their name, and `.transfers`, what is on its way.
"""

import re
import shutil
import tempfile
from collections.abc import Collection, Mapping
from functools import cached_property, partial
from pathlib import Path

import msgspec

from argosy.process.flock import lock
from argosy.spec.errors import BadPackage, Conflict, InvalidArgument, NotFound, Unsupported
from argosy.spec.package import ModelManifest
from argosy.store import unpack as unpacking
from argosy.store.blobs import Blobs, Deposit
from argosy.store.collect import GRACE, Collected, collect
from argosy.store.durable import replace, storage, sweep
from argosy.store.index import SUBJECT, IndexFile, tag_of, with_manifest, with_tag, without_tag
from argosy.store.manifest import (
    CONFIG,
    EMPTY,
    MANIFEST,
    MAX_DOCUMENT,
    MODEL,
    Descriptor,
    ImageManifest,
    check_digest,
    image_manifest,
    layer,
    model_config,
    package_files,
    parse,
)
from argosy.store.oci.transfers import Transfers
from argosy.store.paths import walk

VERSION = b'{"imageLayoutVersion":"1.0.0"}'
_REF = re.compile(r"[A-Za-z0-9]+(?:(?:[-._:@+]|--)[A-Za-z0-9]+)*(?:/[A-Za-z0-9]+(?:(?:[-._:@+]|--)[A-Za-z0-9]+)*)*")


class Referrer(msgspec.Struct, frozen=True):
    """Something attached to a package: its own digest, its artifact type, the descriptor of its data."""

    digest: str
    artifact_type: str
    data: Descriptor


class Layout:
    """Packages by digest. Safe for any number of processes at once; a kill at any point leaves it whole."""

    def __init__(self, root: Path, max_package_bytes: int = 64 * 1024**3) -> None:
        self.root = root
        self.max_package_bytes = max_package_bytes
        self.lock_file = root / ".lock"
        self.blobs = Blobs(root, self.lock_file)
        self.index = IndexFile(root, self.lock_file)
        with storage(root):
            for folder in (self.blobs.folder, self.blobs.temporary):
                folder.mkdir(parents=True, exist_ok=True, mode=0o700)
            self.lock_file.touch(mode=0o600)
            marker = root / "oci-layout"
            if not marker.exists():
                replace(marker, VERSION, self.blobs.temporary)
            if b'"1.0.0"' not in marker.read_bytes()[:4096]:
                raise Unsupported(f"{marker} names another version of the OCI image layout than 1.0.0")
            if not self.index.path.exists():
                self.index.change(lambda entries: entries)

    @cached_property
    def transfers(self) -> Transfers:
        """What is on its way to and from other places."""
        return Transfers(self.root / ".transfers")

    def put_folder(self, folder: Path, *, manifest: ModelManifest, hashed: Mapping[str, str] = {}) -> str:
        """Store a package folder. Returns the digest of its OCI manifest: the same folder gives the same digest.
        `hashed`: paths of files, on this disk, which the caller has written and hashed: they are moved, not copied.

        Raises BadPackage for symlinks, special files, paths that are not allowed and files that change meanwhile;
        PayloadTooLarge; StorageFull. Whatever it raises, the store is as before.
        """
        entries = walk(folder, self.max_package_bytes)
        paths = {entry.path for entry in entries}
        if "model.yaml" not in paths:
            raise BadPackage(f"{folder} has no model.yaml, so it is no package folder")
        weights = manifest.weights.rstrip("/")
        if weights not in paths and not any(path.startswith(weights + "/") for path in paths):
            raise BadPackage(f"model.yaml names the weights '{weights}', which {folder} does not hold")
        sweep(self.blobs.temporary.iterdir(), GRACE)
        with self.blobs.deposit(self.index.digests) as deposit:
            layers = tuple(
                layer(each.path, hashed.get(each.path) or deposit.file(each.file, each.size, each.path), each.size)
                for each in entries
            )
            for each, one in zip(entries, layers, strict=True):
                if each.path in hashed:
                    deposit.take(one, each.file)
            config = self._add(deposit, CONFIG, model_config(manifest, layers))
            return self._publish(deposit, config, layers)

    def attach(self, subject: str, artifact_type: str, data: bytes, media_type: str) -> str:
        """Store `data` as an artifact that refers to the package `subject`, for every machine that has it. Returns the
        digest of the artifact."""
        if not 1 <= len(artifact_type) <= 255 or not 1 <= len(media_type) <= 255:
            raise InvalidArgument("an attached artifact needs an artifact type and a media type of 1 to 255 characters")
        about = self.descriptor(subject)
        with self.blobs.deposit(self.index.digests) as deposit:
            config = self._add(deposit, EMPTY, b"{}")
            layers = (self._add(deposit, media_type, data),)
            attached = self._publish(deposit, config, layers, artifact_type, about)
        self.share(subject)
        return attached

    def adopt(self, data: bytes, files: Mapping[str, Path]) -> str:
        """Store a manifest of another store, byte for byte. `files`, by digest, are those of its blobs that are not
        here: hashed, on this disk, and moved. Returns the digest. Raises BadPackage, StorageFull."""
        manifest = parse(data, "what was pulled")
        with self.blobs.deposit(self.index.digests) as deposit:
            for blob in (manifest.config, *manifest.layers):
                deposit.take(blob, files.get(blob.digest))
            return self._enter(deposit, data, manifest.artifact_type or manifest.config.media_type, manifest.subject)

    def share(self, digest: str) -> None:
        """Have a package and what refers to it where other machines look for it. This folder is the only place, so
        nothing is to be done."""

    def referrers(self, subject: str, artifact_type: str | None = None) -> list[Referrer]:
        """What is attached to a package, in the order it came; only of one artifact type if that is given."""
        check_digest(subject)
        found: list[Referrer] = []
        for entry in self.index.entries():
            wanted = artifact_type in (None, entry.artifact_type)
            if wanted and entry.annotations.get(SUBJECT) == subject and not tag_of(entry):
                manifest = self._manifest(entry.digest)
                found.append(Referrer(entry.digest, manifest.artifact_type, manifest.layers[0]))
        return found

    def descriptor(self, digest: str) -> Descriptor:
        """The descriptor of a manifest. Raises NotFound, InvalidArgument."""
        check_digest(digest)
        for entry in self.index.entries():
            if entry.digest == digest:
                return Descriptor(media_type=entry.media_type, digest=digest, size=entry.size)
        raise NotFound(f"{self.root} holds no package {digest}")

    def read(self, descriptor: Descriptor) -> bytes:
        """A blob of at most 4 MiB whole, checked against its digest: the data of a referrer, say."""
        return self.blobs.read(descriptor, MAX_DOCUMENT, f"the blob {descriptor.digest}")

    def files(self, digest: str) -> dict[str, Descriptor]:
        """Package path → descriptor of its layer. Raises NotFound, and BadPackage for what is no package to be read."""
        return package_files(self._manifest(digest), digest, self.max_package_bytes)

    def size(self, digest: str) -> int:
        """Bytes of all files of a package together."""
        return sum(descriptor.size for descriptor in self.files(digest).values())

    def verify(self, digest: str) -> None:
        """Re-hash the manifest, the config and every file. Raises BadPackage naming what is altered or missing."""
        manifest = self._manifest(digest)
        files = package_files(manifest, digest, self.max_package_bytes)
        self.blobs.read(manifest.config, MAX_DOCUMENT, f"the config of {digest}")
        for path, descriptor in files.items():
            self.blobs.check(descriptor, f"the file '{path}' of {digest}")

    def unpack(self, digest: str, into: Path) -> Path:
        """Lay a package out as read-only files in the folder `into`, verified, whole or not at all. Returns it."""
        return unpacking.unpack(self.blobs, self.files(digest), into)

    def unpacked(self, digest: str, into: Path) -> Path:
        """The package as a folder of read-only files, unpacked once and hashed whenever it is asked for. One that lost,
        gained or altered files is made anew. Raises BadPackage where the blobs are altered, too."""
        try:
            return self.unpack(digest, into)
        except (Conflict, BadPackage):
            self._put_away(digest, into)
            return self.unpack(digest, into)

    def _put_away(self, digest: str, into: Path) -> None:
        """Delete an unpacked folder that is not intact, unless another process has made it anew meanwhile."""
        files = self.files(digest)
        grave = Path(tempfile.mkdtemp(prefix=unpacking.STAGING, dir=into.parent))
        with lock(self.lock_file):
            if into.exists() and not unpacking.intact(into, files):
                into.rename(grave / into.name)
        shutil.rmtree(grave)

    def tag(self, digest: str, ref: str) -> None:
        """Name a package for other OCI tools (`skopeo inspect oci:STORE:REF`) and keep it from being collected."""
        if not _REF.fullmatch(ref) or len(ref) > 255:
            raise InvalidArgument(f"'{ref[:80]}' is no OCI reference name")
        self.descriptor(digest)
        self.index.change(lambda entries: with_tag(entries, digest, ref))

    def untag(self, ref: str) -> None:
        """Take a tag away; the package stays until it is collected. A tag that is not there is no error."""
        self.index.change(lambda entries: without_tag(entries, ref))

    def tags(self) -> dict[str, str]:
        """Tag → digest."""
        return {tag_of(entry): entry.digest for entry in self.index.entries() if tag_of(entry)}

    def collect(self, keep: Collection[str] = (), *, grace: float = GRACE) -> Collected:
        """Delete what neither `keep` (digests) nor a tag needs and that has not been touched for `grace` seconds."""
        return collect(self.blobs, self.index, keep, grace=grace)

    def _add(self, deposit: Deposit, media_type: str, data: bytes) -> Descriptor:
        if len(data) > MAX_DOCUMENT:
            raise BadPackage(
                f"a document of {len(data)} bytes is over the {MAX_DOCUMENT} a manifest or attachment may have"
            )
        return Descriptor(media_type=media_type, digest=deposit.data(data), size=len(data))

    def _publish(
        self,
        deposit: Deposit,
        config: Descriptor,
        layers: tuple[Descriptor, ...],
        artifact_type: str = MODEL,
        subject: Descriptor | None = None,
    ) -> str:
        return self._enter(deposit, image_manifest(config, layers, artifact_type, subject), artifact_type, subject)

    def _enter(self, deposit: Deposit, data: bytes, artifact_type: str, subject: Descriptor | None) -> str:
        manifest = self._add(deposit, MANIFEST, data)
        deposit.settle()
        annotations = {SUBJECT: subject.digest} if subject else {}
        entry = msgspec.structs.replace(manifest, artifact_type=artifact_type, annotations=annotations)
        self.index.change(partial(with_manifest, manifest=entry))
        return entry.digest

    def _manifest(self, digest: str) -> ImageManifest:
        what = f"the manifest of {digest}"
        return parse(self.blobs.read(self.descriptor(digest), MAX_DOCUMENT, what), what)
