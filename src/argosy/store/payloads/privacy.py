"""Keyed hashes: equal values stay equal, and without the key nobody can try values out."""

import contextlib
import hashlib
import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from argosy.store.durable import create_temporary, sync_folder, write_all

KEY_BYTES = 32
HASH_BYTES = 16


def key(path: Path) -> bytes:
    """The key at `path`, made when it is first asked for, by whoever is first. Without it the hashes mean nothing."""
    if not path.exists():
        handle, scratch = create_temporary(path.parent)
        try:
            write_all(handle, os.urandom(KEY_BYTES))
            os.fsync(handle)
            with contextlib.suppress(FileExistsError):
                os.link(scratch, path)
        finally:
            os.close(handle)
            scratch.unlink(missing_ok=True)
        sync_folder(path.parent)
    return path.read_bytes()


def hashes(values: Iterable[Any], secret: bytes) -> list[str | None]:
    """Keyed BLAKE2b of each value as 32 hexadecimal digits; None stays None. Each distinct value is hashed once."""
    known: dict[Any, str | None] = {None: None}
    found: list[str | None] = []
    for value in values:
        if value not in known:
            known[value] = hashlib.blake2b(_bytes(value), digest_size=HASH_BYTES, key=secret).hexdigest()
        found.append(known[value])
    return found


def _bytes(value: Any) -> bytes:
    return value if isinstance(value, bytes) else str(value).encode()
