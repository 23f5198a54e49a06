"""The digest of a package folder, as the store would give it, without storing it."""

import hashlib
import sys
from pathlib import Path

from argosy.packaging.package import Package
from argosy.store.manifest import CONFIG, MANIFEST, MODEL, Descriptor, ImageManifest, canonical, layer, model_config
from argosy.store.paths import walk


def digest_of(package: Package) -> str:
    """`sha256:…` over every file of the folder: that of its OCI manifest. Raises BadPackage for what no package has."""
    layers = tuple(
        layer(entry.path, _hash(entry.file), entry.size) for entry in walk(package.folder, limit=sys.maxsize)
    )
    config = model_config(package.manifest, layers)
    manifest = ImageManifest(
        schema_version=2,
        media_type=MANIFEST,
        artifact_type=MODEL,
        config=Descriptor(media_type=CONFIG, digest=_sha256(config), size=len(config)),
        layers=layers,
    )
    return _sha256(canonical(manifest))


def _hash(path: Path) -> str:
    with path.open("rb") as file:
        return f"sha256:{hashlib.file_digest(file, 'sha256').hexdigest()}"


def _sha256(data: bytes) -> str:
    return f"sha256:{hashlib.sha256(data).hexdigest()}"
