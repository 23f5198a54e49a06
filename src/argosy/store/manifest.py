"""The documents of the store: OCI image manifests with the media types of the CNCF ModelPack specification.

Sources: OCI image-spec 1.1 (descriptor, manifest, image index), CNCF ModelPack model-spec (media types, config,
annotations).
"""

import hashlib
import re
from collections.abc import Sequence
from typing import Any

import msgspec

from argosy.spec import strict
from argosy.spec.errors import BadPackage, InvalidArgument, PayloadTooLarge
from argosy.spec.package import ModelManifest
from argosy.store.paths import MAX_FILES, check_tree

MANIFEST = "application/vnd.oci.image.manifest.v1+json"
INDEX = "application/vnd.oci.image.index.v1+json"
EMPTY = "application/vnd.oci.empty.v1+json"
IMAGE_CONFIG = "application/vnd.oci.image.config.v1+json"
MODEL = "application/vnd.cncf.model.manifest.v1+json"
CONFIG = "application/vnd.cncf.model.config.v1+json"
LAYER = "application/vnd.cncf.model.{}.v1.raw"
FILEPATH = "org.cncf.model.filepath"
METADATA = "org.cncf.model.file.metadata+json"
REF_NAME = "org.opencontainers.image.ref.name"
MAX_DOCUMENT = 4 * 1024 * 1024

_DIGEST = re.compile(r"sha256:[0-9a-f]{64}")
_RAW = re.compile(r"application/vnd\.cncf\.model\.(weight|weight\.config|doc|code|dataset)\.v1\.raw")


class Descriptor(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, rename="camel"):
    """What points at a blob: its media type, "sha256:…", its size in bytes."""

    media_type: str
    digest: str
    size: int
    artifact_type: str = ""
    annotations: dict[str, str] = {}
    platform: dict[str, Any] = {}

    def __post_init__(self) -> None:
        if not _DIGEST.fullmatch(self.digest):
            raise ValueError(f"'{self.digest[:80]}' is no sha256 digest")
        if self.size < 0:
            raise ValueError(f"the size {self.size} is negative")


class ImageManifest(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, rename="camel"):
    """An OCI image manifest. Fields of others that are unknown here are passed over, as the specification asks."""

    schema_version: int
    media_type: str = ""
    artifact_type: str = ""
    config: Descriptor
    layers: tuple[Descriptor, ...]
    subject: Descriptor | None = None


class References(msgspec.Struct, frozen=True, rename="camel"):
    """All that a manifest or an image index keeps alive, whatever its kind."""

    config: Descriptor | None = None
    layers: tuple[Descriptor, ...] = ()
    manifests: tuple[Descriptor, ...] = ()


def canonical(value: Any) -> bytes:
    """JSON with sorted keys and no spaces: the same value gives the same bytes."""
    return msgspec.json.encode(value, order="sorted")


def check_digest(digest: str) -> str:
    """Raise InvalidArgument unless this is "sha256:" and 64 lower-case hexadecimal digits."""
    if not _DIGEST.fullmatch(digest):
        raise InvalidArgument(f"'{digest[:80]}' is no digest; a digest is 'sha256:' and 64 hexadecimal digits")
    return digest


def layer_type(path: str) -> str:
    """The media type of a package file, from its path."""
    if path.startswith("weights/"):
        return LAYER.format("weight")
    if path == "requirements.txt" or path.endswith(".py"):
        return LAYER.format("code")
    if path.upper().startswith(("LICENSE", "README")):
        return LAYER.format("doc")
    return LAYER.format("weight.config")


def layer(path: str, digest: str, size: int) -> Descriptor:
    """The layer of one file. Mode, owner and time are constants, so that they do not enter the digest."""
    metadata = {"name": path, "mode": 0o644, "uid": 0, "gid": 0, "size": size, "typeflag": ord("0")}
    metadata["mtime"] = "1970-01-01T00:00:00Z"
    annotations = {FILEPATH: path, METADATA: canonical(metadata).decode()}
    return Descriptor(media_type=layer_type(path), digest=digest, size=size, annotations=annotations)


def model_config(manifest: ModelManifest, layers: Sequence[Descriptor]) -> bytes:
    """The ModelPack config of a package. It has no creation time: the same package gives the same bytes."""
    descriptor: dict[str, Any] = {"name": manifest.name, "title": manifest.name}
    if manifest.description:
        descriptor["description"] = manifest.description
    if manifest.license:
        descriptor["licenses"] = [manifest.license]
    modelfs = {"type": "layers", "diffIds": [layer.digest for layer in layers]}
    return canonical({"descriptor": descriptor, "config": {"format": manifest.engine}, "modelfs": modelfs})


def describe(media_type: str, data: bytes) -> Descriptor:
    return Descriptor(media_type=media_type, digest=f"sha256:{hashlib.sha256(data).hexdigest()}", size=len(data))


def image_manifest(
    config: Descriptor, layers: tuple[Descriptor, ...], artifact_type: str = MODEL, subject: Descriptor | None = None
) -> bytes:
    """The manifest of a package, or of another artifact."""
    return canonical(
        ImageManifest(
            schema_version=2,
            media_type=MANIFEST,
            artifact_type=artifact_type,
            config=config,
            layers=layers,
            subject=subject,
        )
    )


def parse(data: bytes, where: str) -> ImageManifest:
    """Bytes → manifest. Raises BadPackage."""
    if len(data) > MAX_DOCUMENT:
        raise BadPackage(f"{where} is larger than {MAX_DOCUMENT} bytes")
    manifest = strict.parse(data, ImageManifest, f"{where} is no OCI image manifest")
    if manifest.schema_version != 2 or manifest.media_type not in ("", MANIFEST):
        raise BadPackage(f"{where} is no OCI image manifest of schema version 2")
    return manifest


def package_files(manifest: ImageManifest, where: str, limit: int) -> dict[str, Descriptor]:
    """Package path → layer. Raises BadPackage for what is no package of raw files under allowed paths,
    PayloadTooLarge when they sum to more than `limit` bytes."""
    if MODEL not in (manifest.artifact_type, manifest.config.media_type) and manifest.config.media_type != CONFIG:
        raise BadPackage(f"{where} is no model package (its artifact type is '{manifest.artifact_type[:80]}')")
    if len(manifest.layers) > MAX_FILES:
        raise BadPackage(f"{where} lists more than {MAX_FILES} files")
    if sum(layer.size for layer in manifest.layers) > limit:
        raise PayloadTooLarge(f"{where} is larger than store.max_package_bytes = {limit} bytes")
    for layer in manifest.layers:
        if not _RAW.fullmatch(layer.media_type):
            raise BadPackage(
                f"{where} has a layer of type '{layer.media_type[:80]}'; only raw ModelPack layers are read"
            )
        if FILEPATH not in layer.annotations:
            raise BadPackage(f"{where} has a layer without the annotation {FILEPATH}")
    paths = [layer.annotations[FILEPATH] for layer in manifest.layers]
    check_tree(paths)
    return dict(zip(paths, manifest.layers, strict=True))
