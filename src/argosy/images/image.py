"""The documents of an image, and the folder or archive that holds them: OCI image-spec 1.1 (config, manifest, index,
image-layout)."""

import os
import shutil
import tarfile
import tempfile
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import msgspec

from argosy.images.layers import Layer
from argosy.images.platforms import Platform
from argosy.spec.errors import Conflict
from argosy.store.durable import replace, storage
from argosy.store.layout import VERSION
from argosy.store.manifest import INDEX, MANIFEST, REF_NAME, canonical, describe

CONFIG = "application/vnd.oci.image.config.v1+json"
USER = "65532:65532"
"""A number, so that Kubernetes can verify `runAsNonRoot`; the one that images without a distribution use."""
WRITABLE = "/var/lib/argosy"
MODEL = "/models"
"""As `argosy.serving.contracts` has it for images of models."""
PORT, GRPC_PORT = 8080, 8081


class Image(msgspec.Struct, frozen=True, kw_only=True):
    """One platform of an image: its layers from the first to the last, and what they run."""

    platform: Platform
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
            "config": {
                "User": USER,
                "Env": [f"{name}={value}" for name, value in self.environ.items()],
                "Entrypoint": ["argosy"],
                "Cmd": ["serve"],
                "WorkingDir": "/",
                "StopSignal": "SIGTERM",
                "ExposedPorts": {f"{port}/tcp": {} for port in self.ports},
                "Labels": self.labels,
            },
            "rootfs": {"type": "layers", "diff_ids": [layer.diff_id for layer in self.layers]},
            "history": history,
        }
        data = canonical(config)
        layers = [{"mediaType": each.media_type, "digest": each.digest, "size": each.size} for each in self.layers]
        manifest = {"schemaVersion": 2, "mediaType": MANIFEST, "config": describe(CONFIG, data), "layers": layers}
        return data, canonical(manifest | {"annotations": self.labels})


def time_of(epoch: int) -> str:
    """Seconds since 1970 as RFC 3339 has it."""
    return datetime.fromtimestamp(epoch, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


class Contents(msgspec.Struct, frozen=True, kw_only=True):
    """The files of an OCI layout: `index`, and blobs by digest, each its bytes or where they lie. `digest` names the
    image: its manifest, or the index of its platforms."""

    digest: str
    index: bytes
    blobs: dict[str, bytes | Path]

    @property
    def size(self) -> int:
        """Bytes of all blobs."""
        return sum(len(blob) if isinstance(blob, bytes) else blob.stat().st_size for blob in self.blobs.values())


def contents(images: Sequence[Image], blob: Mapping[str, Path], ref: str) -> Contents:
    """The layout that holds these images under the name `ref`; `blob` says where layers lie."""
    blobs: dict[str, bytes | Path] = {}
    entries: list[dict[str, Any]] = []
    for image in images:
        config, manifest = image.documents()
        blobs |= {describe(CONFIG, config).digest: config, describe(MANIFEST, manifest).digest: manifest}
        blobs |= {layer.digest: blob[layer.digest] for layer in image.layers}
        entries.append({**_descriptor(MANIFEST, manifest), "platform": image.platform.oci})
    if len(entries) > 1:
        index = canonical({"schemaVersion": 2, "mediaType": INDEX, "manifests": entries})
        entries = [_descriptor(INDEX, index)]
        blobs[entries[0]["digest"]] = index
    named = [{**entries[0], "annotations": {REF_NAME: ref}}]
    top = canonical({"schemaVersion": 2, "mediaType": INDEX, "manifests": named})
    return Contents(digest=entries[0]["digest"], index=top, blobs=blobs)


def _descriptor(media_type: str, data: bytes) -> dict[str, Any]:
    found = describe(media_type, data)
    return {"mediaType": media_type, "digest": found.digest, "size": found.size}


def write_folder(found: Contents, folder: Path) -> None:
    """Write an OCI layout. A layout that is there is replaced: its index last, then what that no longer needs goes.
    Raises Conflict for a folder that holds something else, StorageFull."""
    if folder.exists() and not (folder / "oci-layout").is_file() and (not folder.is_dir() or any(folder.iterdir())):
        raise Conflict(f"{folder} exists and is no OCI layout; name a folder that does not exist yet")
    place = folder / "blobs" / "sha256"
    with storage(folder):
        place.mkdir(parents=True, exist_ok=True)
        for digest, blob in found.blobs.items():
            target = place / digest.removeprefix("sha256:")
            if target.exists() and target.stat().st_size == _size(blob):
                continue
            if isinstance(blob, bytes):
                replace(target, blob, place)
            else:
                _copy(blob, target)
        replace(folder / "oci-layout", VERSION, folder)
        replace(folder / "index.json", found.index, folder)
    for path in place.iterdir():
        if f"sha256:{path.name}" not in found.blobs:
            path.unlink()


def _size(blob: bytes | Path) -> int:
    return len(blob) if isinstance(blob, bytes) else blob.stat().st_size


def _copy(source: Path, target: Path) -> None:
    scratch = target.with_suffix(".tmp")
    shutil.copyfile(source, scratch)
    scratch.chmod(0o644)
    scratch.rename(target)


def write_archive(found: Contents, file: Path, epoch: int) -> None:
    """Write an OCI layout as one tar file (`oci-archive:` of skopeo and podman), at once or not at all. Raises
    StorageFull."""
    with storage(file.parent), tempfile.TemporaryDirectory(prefix=".argosy-", dir=file.parent) as work:
        folder, scratch = Path(work) / "layout", Path(work) / "archive"
        write_folder(found, folder)
        with tarfile.open(scratch, "w", format=tarfile.PAX_FORMAT) as archive:
            for path in sorted(folder.rglob("*")):
                archive.add(
                    path, path.relative_to(folder).as_posix(), recursive=False, filter=lambda e: _plain(e, epoch)
                )
        scratch.chmod(0o644)
        os.replace(scratch, file)


def _plain(entry: tarfile.TarInfo, epoch: int) -> tarfile.TarInfo:
    entry.uid = entry.gid = 0
    entry.uname = entry.gname = ""
    entry.mtime, entry.mode = epoch, 0o755 if entry.isdir() else 0o644
    return entry
