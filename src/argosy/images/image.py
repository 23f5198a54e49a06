"""The documents of an image, and the folder or archive that holds them: OCI image-spec 1.1 (config, manifest, index,
image-layout)."""

import os
import shutil
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import msgspec

from argosy.images.layers import Layer
from argosy.images.platforms import Platform
from argosy.images.tree import Tree
from argosy.process.flock import lock
from argosy.spec.errors import Conflict
from argosy.store.durable import create_temporary, replace, storage
from argosy.store.index import SUBJECT, ImageIndex
from argosy.store.layout import VERSION
from argosy.store.manifest import (
    EMPTY,
    IMAGE_CONFIG,
    INDEX,
    MANIFEST,
    REF_NAME,
    Descriptor,
    canonical,
    describe,
    image_manifest,
)
from argosy.trust import sbom
from argosy.trust.sbom import CYCLONEDX, Component

USER = "65532:65532"
"""A number, so that Kubernetes can verify `runAsNonRoot`; the one that images without a distribution use."""
WRITABLE = "/var/lib/argosy"
PORT, GRPC_PORT = 8080, 8081


class Image(msgspec.Struct, frozen=True, kw_only=True):
    """One platform of an image: its layers from the first to the last, what they run, and what it is made of."""

    name: str
    platform: Platform
    parts: tuple[Component, ...]
    layers: tuple[Layer, ...]
    environ: Mapping[str, str]
    labels: Mapping[str, str]
    ports: tuple[int, ...]
    epoch: int = 0

    def documents(self) -> tuple[bytes, bytes]:
        """The config and the manifest."""
        created = time_of(self.epoch)
        history = [{"created": created, "created_by": layer.created_by} for layer in self.layers]
        config: dict[str, Any] = {
            **self.platform.oci,
            "created": created,
            "config": settings_of(self.environ, self.labels, self.ports),
            "rootfs": {"type": "layers", "diff_ids": [layer.diff_id for layer in self.layers]},
            "history": history,
        }
        data = canonical(config)
        layers = [{"mediaType": each.media_type, "digest": each.digest, "size": each.size} for each in self.layers]
        manifest = {"schemaVersion": 2, "mediaType": MANIFEST, "config": describe(IMAGE_CONFIG, data), "layers": layers}
        return data, canonical(manifest | {"annotations": self.labels})


def settings_of(environ: Mapping[str, str], labels: Mapping[str, str], ports: Sequence[int]) -> dict[str, Any]:
    """How a container runs, by the names of the specification."""
    return {
        "User": USER,
        "Env": [f"{name}={value}" for name, value in environ.items()],
        "Entrypoint": ["argosy"],
        "Cmd": ["serve"],
        "WorkingDir": "/",
        "StopSignal": "SIGTERM",
        "ExposedPorts": {f"{port}/tcp": {} for port in ports},
        "Labels": labels,
    }


def time_of(epoch: int) -> str:
    """Seconds since 1970 as RFC 3339 has it."""
    return datetime.fromtimestamp(epoch, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


class Contents(msgspec.Struct, frozen=True, kw_only=True):
    """The files of an OCI layout: `index`, and blobs by digest, each its bytes or where they lie. `root` is the image:
    its manifest, or the index of its platforms; `referrers` are the manifests of bills of material."""

    root: Descriptor
    referrers: tuple[Descriptor, ...]
    index: bytes
    blobs: dict[str, bytes | Path]

    @property
    def size(self) -> int:
        return sum(_size(blob) for blob in self.blobs.values())

    def read(self, blob: Descriptor, start: int, length: int) -> Iterator[bytes]:
        """`length` bytes of a blob, from `start`: the source of a push."""
        from argosy.store.oci.push import piece

        found = self.blobs[blob.digest]
        yield from (
            [found[start : start + length]] if isinstance(found, bytes) else piece(found, start, length, blob.digest)
        )


def contents(images: Sequence[Image], blob: Mapping[str, Path], ref: str, *, bills: bool) -> Contents:
    """The layout that holds these images under the name `ref`, with a bill of material for each if `bills` is set;
    `blob` says where layers lie."""
    blobs: dict[str, bytes | Path] = {}
    manifests: list[Descriptor] = []
    referrers: list[Descriptor] = []

    def add(media_type: str, data: bytes) -> Descriptor:
        found = describe(media_type, data)
        blobs[found.digest] = data
        return found

    for image in images:
        config, data = image.documents()
        add(IMAGE_CONFIG, config)
        manifest = add(MANIFEST, data)
        blobs |= {layer.digest: blob[layer.digest] for layer in image.layers}
        manifests.append(msgspec.structs.replace(manifest, platform=image.platform.oci))
        if bills:
            version = manifest.digest.replace(":", "%3A")
            subject = Component(
                name=image.name, kind="container", version=manifest.digest, purl=f"pkg:oci/{image.name}@{version}"
            )
            bill = add(CYCLONEDX, sbom.bill(subject, image.parts, digest=manifest.digest))
            found = add(MANIFEST, image_manifest(add(EMPTY, b"{}"), (bill,), CYCLONEDX, manifest))
            referrers.append(
                msgspec.structs.replace(found, artifact_type=CYCLONEDX, annotations={SUBJECT: manifest.digest})
            )
    entry = manifests[0] if len(manifests) == 1 else add(INDEX, _index(manifests))
    index = _index([msgspec.structs.replace(entry, annotations={REF_NAME: ref}), *referrers])
    root = msgspec.structs.replace(entry, platform={})
    return Contents(root=root, referrers=tuple(referrers), index=index, blobs=blobs)


def _index(manifests: Sequence[Descriptor]) -> bytes:
    return canonical(ImageIndex(schema_version=2, media_type=INDEX, manifests=tuple(manifests)))


def check_place(place: Path, *, archive: bool) -> None:
    """Raise Conflict where an image would take the place of something else."""
    if archive and place.is_dir():
        raise Conflict(f"{place} is a folder; name a file, or write  oci:{place}/NAME")
    layout = (place / "oci-layout").is_file() or (place.is_dir() and not any(place.iterdir()))
    if not archive and place.exists() and not layout:
        raise Conflict(f"{place} exists and is no OCI layout; name a folder that does not exist yet")


def write_folder(found: Contents, folder: Path) -> None:
    """Write an OCI layout, one build at a time. A layout that is there, or what a killed build left of one, is
    replaced: its index last, then what that no longer needs goes. Raises StorageFull."""
    marker, place = folder / "oci-layout", folder / "blobs" / "sha256"
    with storage(folder):
        folder.mkdir(parents=True, exist_ok=True)
        marker.touch()  # before all else, so that the next build knows what a killed one has left
        with lock(folder):
            place.mkdir(parents=True, exist_ok=True)
            for digest, blob in found.blobs.items():
                target = place / digest.removeprefix("sha256:")
                if target.exists() and target.stat().st_size == _size(blob):
                    continue
                if isinstance(blob, bytes):
                    replace(target, blob, place)
                else:
                    _copy(blob, target)
            replace(marker, VERSION, place)
            replace(folder / "index.json", found.index, place)
            for path in place.iterdir():
                if f"sha256:{path.name}" not in found.blobs:
                    path.unlink()


def _size(blob: bytes | Path) -> int:
    return len(blob) if isinstance(blob, bytes) else blob.stat().st_size


def _copy(source: Path, target: Path) -> None:
    scratch = target.with_suffix(".tmp")
    try:
        shutil.copyfile(source, scratch)
        scratch.chmod(0o644)
        scratch.rename(target)
    finally:
        scratch.unlink(missing_ok=True)


def write_archive(found: Contents, file: Path, epoch: int) -> None:
    """Write an OCI layout as one tar file (`oci-archive:` of skopeo and podman), at once or not at all. Raises
    StorageFull."""
    tree = Tree()
    tree.file("oci-layout", VERSION)
    tree.file("index.json", found.index)
    for digest, blob in found.blobs.items():
        tree.file(f"blobs/sha256/{digest.removeprefix('sha256:')}", blob)
    with storage(file.parent):
        file.parent.mkdir(parents=True, exist_ok=True)
        handle, scratch = create_temporary(file.parent)
        try:
            with os.fdopen(handle, "wb") as sink:
                tree.write(sink, epoch)
            scratch.chmod(0o644)
            scratch.rename(file)
        finally:
            scratch.unlink(missing_ok=True)
