"""A package as an image: the same files in tar layers, for what mounts or unpacks images and knows no ModelPack.

Decision 56 says why it has blobs of its own. They are made while they are sent: nothing of them lies on the disk.
"""

import hashlib
import tarfile
from collections.abc import Iterator, Mapping

import msgspec

from argosy.spec.package import MODEL_FOLDER
from argosy.store.blobs import Blobs
from argosy.store.index import ImageIndex
from argosy.store.layout import Layout
from argosy.store.manifest import IMAGE_CONFIG, INDEX, MANIFEST, Descriptor, canonical, describe, image_manifest
from argosy.store.oci.push import Folder, piece, push
from argosy.store.oci.reference import RemoteReference
from argosy.store.oci.remote import Remote
from argosy.store.oci.transfers import Transfers

LAYER = "application/vnd.oci.image.layer.v1.tar"
ROOT = MODEL_FOLDER.lstrip("/")
"""The folder of the image in which the package lies."""
ARCHITECTURES = ("amd64", "arm64")
"""What nodes ask an image for; its files are the same for all of them."""
SUFFIX = "-image"
"""What follows the tag of the package in the tag of the image."""
BLOCK = 512


class Twin:
    """The image of a package, as a source of blobs: two layers, the weights and all else, and for each architecture a
    config and a manifest whose subject is the package. The same package gives the same bytes."""

    def __init__(self, blobs: Blobs, files: Mapping[str, Descriptor], subject: Descriptor) -> None:
        self._blobs = blobs
        self._parts: dict[str, list[bytes | Descriptor]] = {}
        weights = {path: blob for path, blob in files.items() if path.startswith("weights/")}
        rest = {path: blob for path, blob in files.items() if path not in weights}
        layers = tuple(self._tar(each) for each in (weights, rest) if each)
        manifests = tuple(self._manifest(layers, each, subject) for each in ARCHITECTURES)
        self.root = self._add(INDEX, canonical(ImageIndex(schema_version=2, media_type=INDEX, manifests=manifests)))

    def read(self, blob: Descriptor, start: int, length: int) -> Iterator[bytes]:
        """`length` bytes of a blob, from `start`."""
        for part in self._parts[blob.digest]:
            size = len(part) if isinstance(part, bytes) else part.size
            count = min(size - start, length)
            if count > 0:
                length -= count
                if isinstance(part, bytes):
                    yield part[start : start + count]
                else:
                    yield from piece(self._blobs.path(part.digest), start, count, f"the blob {part.digest}")
            start = max(start - size, 0)

    def _tar(self, files: Mapping[str, Descriptor]) -> Descriptor:
        """A layer of these files, below `ROOT`, and of the folders that they lie in."""
        parts: list[bytes | Descriptor] = []
        folders = {ROOT} | {f"{ROOT}/{path[:at]}" for path in files for at, sign in enumerate(path) if sign == "/"}
        parts += [_head(folder, tarfile.DIRTYPE, 0o755, 0) for folder in sorted(folders)]
        for path, blob in sorted(files.items()):
            parts += [_head(f"{ROOT}/{path}", tarfile.REGTYPE, 0o644, blob.size), blob, bytes(-blob.size % BLOCK)]
        parts.append(bytes(2 * BLOCK))
        size = sum(len(part) if isinstance(part, bytes) else part.size for part in parts)
        whole, hasher = Descriptor(media_type=LAYER, digest="sha256:" + "0" * 64, size=size), hashlib.sha256()
        self._parts[whole.digest] = parts
        for data in self.read(whole, 0, size):
            hasher.update(data)
        layer = msgspec.structs.replace(whole, digest=f"sha256:{hasher.hexdigest()}")
        self._parts[layer.digest] = parts
        return layer

    def _manifest(self, layers: tuple[Descriptor, ...], architecture: str, subject: Descriptor) -> Descriptor:
        moment = "1970-01-01T00:00:00Z"
        config = {
            "architecture": architecture,
            "os": "linux",
            "created": moment,
            "config": {},
            "rootfs": {"type": "layers", "diff_ids": [layer.digest for layer in layers]},
            "history": [{"created": moment, "created_by": "argosy push"} for _ in layers],
        }
        data = image_manifest(self._add(IMAGE_CONFIG, canonical(config)), layers, "", subject)
        platform = {"architecture": architecture, "os": "linux"}
        return msgspec.structs.replace(self._add(MANIFEST, data), platform=platform)

    def _add(self, media_type: str, data: bytes) -> Descriptor:
        found = describe(media_type, data)
        self._parts[found.digest] = [data]
        return found


def _head(name: str, kind: bytes, mode: int, size: int) -> bytes:
    """What precedes a file in a tar: no owner, no time."""
    entry = tarfile.TarInfo(name)
    entry.type, entry.mode, entry.size = kind, mode, size
    return entry.tobuf(tarfile.PAX_FORMAT)


class Published(msgspec.Struct, frozen=True, kw_only=True):
    """What a push of a package did: the digest of the package and, where it was pushed as well, of the index of its
    image; how many manifests refer to the package; blobs that were sent, and that were there."""

    digest: str
    image: str
    referrers: int
    sent: int
    there: int


def publish(
    remote: Remote,
    reference: RemoteReference,
    layout: Layout,
    digest: str,
    transfers: Transfers,
    *,
    image: bool = True,
) -> Published:
    """Push a package to a tag, what refers to it, and its image to that tag and `SUFFIX`. Raises as `push` does."""
    folder, subject = Folder(layout.root), layout.descriptor(digest)
    done = [push(remote, reference, subject, folder, transfers)]
    untagged = RemoteReference(reference.host, reference.repository)
    attached = layout.referrers(digest)
    for root in [layout.descriptor(each.digest) for each in attached]:
        done += [push(remote, untagged, root, folder, transfers)]
    index = ""
    if image:
        twin = Twin(layout.blobs, layout.files(digest), subject)
        tagged = reference.with_tag(reference.tag + SUFFIX)
        done.append(push(remote, tagged, twin.root, twin, transfers))
        index = twin.root.digest
    sent, there = sum(each.sent for each in done), sum(each.there for each in done)
    return Published(digest=digest, image=index, referrers=len(attached), sent=sent, there=there)
