"""What a signature says: an in-toto Statement that lists every file of a package with its SHA-256.

Source: OpenSSF model signing, predicate `https://model_signing/signature/v1.0` (sigstore/model-transparency).
"""

import hashlib
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec

from argosy.spec.errors import BadPackage, BadSignature
from argosy.store.manifest import canonical
from argosy.store.paths import check_tree, hash_of, walk

STATEMENT = "https://in-toto.io/Statement/v1"
PREDICATE = "https://model_signing/signature/v1.0"


class _Resource(msgspec.Struct, frozen=True):
    name: str
    algorithm: str
    digest: str


class _Predicate(msgspec.Struct, frozen=True):
    serialization: dict[str, Any]
    resources: tuple[_Resource, ...]


class _Statement(msgspec.Struct, frozen=True, rename={"type": "_type", "predicate_type": "predicateType"}):
    type: str
    subject: tuple[dict[str, Any], ...]
    predicate_type: str
    predicate: msgspec.Raw


def files_of(folder: Path) -> dict[str, str]:
    """Path → SHA-256 in hex of every file of a folder, hashed now. Raises BadPackage for what no package has."""
    return {each.path: hash_of(each.file) for each in walk(folder, sys.maxsize)}


def statement(name: str, files: Mapping[str, str]) -> bytes:
    """The statement over files (path → SHA-256 in hex): the same files give the same bytes."""
    ordered = sorted(files, key=lambda path: path.split("/"))
    resources = [{"name": path, "algorithm": "sha256", "digest": files[path]} for path in ordered]
    serialization = {"method": "files", "hash_type": "sha256", "allow_symlinks": False}
    root = _root(files[path] for path in ordered)
    return canonical(
        {
            "_type": STATEMENT,
            "subject": [{"name": name, "digest": {"sha256": root}}],
            "predicateType": PREDICATE,
            "predicate": {"serialization": serialization, "resources": resources},
        }
    )


def check_statement(payload: bytes, files: Mapping[str, str]) -> None:
    """Raises BadSignature, which names the first files that differ, unless the statement lists exactly these files.

    A signature that leaves files out (`ignore_paths`) does not count: what it leaves out could be anything.
    """
    signed = _read(payload)
    for what, paths in (
        ("altered", sorted(path for path in files if path in signed and signed[path] != files[path])),
        ("not signed", sorted(files.keys() - signed.keys())),
        ("missing", sorted(signed.keys() - files.keys())),
    ):
        if paths:
            more = f" and {len(paths) - 3} more" if len(paths) > 3 else ""
            raise BadSignature(f"the signature is over other bytes: {', '.join(paths[:3])}{more}: {what}")


def _read(payload: bytes) -> dict[str, str]:
    """Path → SHA-256 in hex, out of a statement. Raises BadSignature for another kind or one that contradicts
    itself."""
    try:
        said = msgspec.json.decode(payload, type=_Statement)
        if said.type != STATEMENT or said.predicate_type != PREDICATE:
            raise BadSignature(f"the signature is over a '{said.predicate_type[:80]}', not over a model ({PREDICATE})")
        predicate = msgspec.json.decode(said.predicate, type=_Predicate)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise BadSignature(f"what was signed is no in-toto statement about a model: {error}") from None
    how, resources = predicate.serialization, predicate.resources
    method, hashed = (str(how.get(key))[:40] for key in ("method", "hash_type"))
    if method != "files" or {hashed, *(each.algorithm for each in resources)} != {"sha256"}:
        raise BadSignature(
            f"the signature hashes {method} by {hashed}, which is not read here: sign files with sha256, as "
            "model_signing does by default"
        )
    try:
        check_tree(each.name for each in resources)
        root = _root(each.digest for each in resources)
    except (BadPackage, ValueError) as error:
        raise BadSignature(f"the signature lists files that no package has: {error}") from None
    if [each.get("digest") for each in said.subject] != [{"sha256": root}]:
        raise BadSignature("the signature contradicts itself: its files do not have the digest that it names")
    return {each.name: each.digest for each in resources}


def _root(digests: Any) -> str:
    """SHA-256 over the raw digests, one after the other."""
    return hashlib.sha256(b"".join(map(bytes.fromhex, digests))).hexdigest()
