"""Proof that a stored package is what was pushed, and still answers as it did."""

from typing import TYPE_CHECKING

import msgspec

from argosy.packaging import quarantine
from argosy.packaging.load import CHECK, Check

if TYPE_CHECKING:
    from argosy.store.store import Store


class Verification(msgspec.Struct, frozen=True, kw_only=True):
    """What was verified: every file by its digest, every golden row within the tolerance. Sizes in bytes."""

    ref: str
    digest: str
    files: int
    size: int
    golden_rows: int
    max_difference: float


def verify(store: "Store", ref: str, *, seconds: float = 600.0) -> Verification:
    """Re-hash a package and replay its golden examples in a child process.

    Raises NotFound, BadPackage naming the file that was altered, GoldenMismatch naming the output that differs.
    """
    version = store.registry.resolve(ref)
    store.layout.verify(version.digest)
    job = Check(folder=str(store.unpacked(version.digest)), trusted=version.trust is not None)
    largest = quarantine.run(CHECK, job, float, what=version.ref, limits=quarantine.Limits(seconds=seconds))
    return Verification(
        ref=version.ref,
        digest=version.digest,
        files=len(store.layout.files(version.digest)),
        size=version.size,
        golden_rows=version.manifest.golden_rows,
        max_difference=largest,
    )
