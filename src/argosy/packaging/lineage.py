"""Where a package comes from: digest of its source, who pushed it, when, from which commit."""

import getpass
import hashlib
import platform
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path

import msgspec

from argosy import __version__
from argosy.packaging.checkout import checkout_of
from argosy.spec.package import Lineage, Source
from argosy.store.paths import PackageFile, hash_of, walk


def digest_of(path: Path, limit: int) -> str:
    """`sha256:…` of a file; of a folder, over the sorted lines `digest  path`. Raises as `store.paths.walk`."""
    if path.is_file():
        return f"sha256:{hash_of(path)}"
    return folder_digest({entry.path: hash_of(entry.file) for entry in walk(path, limit)})


def folder_digest(files: Mapping[str, str]) -> str:
    """`sha256:…` of a folder whose files (path → digest) are known."""
    lines = (f"{digest.removeprefix('sha256:')}  {path}\n" for path, digest in sorted(files.items()))
    return f"sha256:{hashlib.sha256(''.join(lines).encode()).hexdigest()}"


def files_of(path: Path, limit: int) -> list[PackageFile]:
    """The files that make up a source: itself, or everything in the folder."""
    return walk(path, limit) if path.is_dir() else [PackageFile(path.name, path, path.stat().st_size)]


def source_of(path: Path, copied: Path, kind: str, limit: int) -> Source:
    """The record of a source: its own name, and the digest of the bytes that were copied."""
    return Source(name=path.resolve().name, digest=digest_of(copied, limit), format=kind)


def lineage_of(path: Path) -> Lineage:
    """Who pushes `path`, now, from this machine; and the git commit of its folder, where there is one."""
    found = checkout_of(path if path.is_dir() else path.parent)
    here = lineage_from(str(path.absolute()))
    return msgspec.structs.replace(here, git_commit=found.commit, git_dirty=found.dirty, git_remote=found.remote)


def lineage_from(source: str) -> Lineage:
    """Who takes a package from `source`, now, to this machine."""
    try:
        user = getpass.getuser()
    except (KeyError, OSError):
        user = "unknown"
    return Lineage(
        pushed_by=user,
        pushed_at=datetime.now(UTC).isoformat(timespec="seconds").replace("+00:00", "Z"),
        host=platform.node(),
        source_path=source,
        argosy=__version__,
        python=platform.python_version(),
    )
