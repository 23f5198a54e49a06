"""Run by test_image: write a layout in a forked child that dies at the n-th change of the disk, for every n."""

import os
import random
import sys
from pathlib import Path

from argosy.images.image import Contents, write_folder
from argosy.store.manifest import MANIFEST, describe
from tests.store.faults import at_call, die


def contents(place: Path, name: str, size: int = 3000) -> Contents:
    """An image that is none: a document, and a layer of so many bytes that lies in a file."""
    document, layer = name.encode(), random.Random(name).randbytes(size)
    place.mkdir(exist_ok=True)
    file = place / f"{name}.layer"
    file.write_bytes(layer)
    root = describe(MANIFEST, document)
    blobs = {root.digest: document, describe("", layer).digest: file}
    return Contents(root=root, referrers=(), index=f'{{"index": "{name}"}}'.encode(), blobs=blobs)


def files(folder: Path) -> set[str]:
    """The digests of the files among the blobs of a layout; what is none of them too."""
    return {f"sha256:{path.name}" for path in (folder / "blobs" / "sha256").iterdir()}


def main(place: Path) -> None:
    old, new = contents(place, "old"), contents(place, "new")
    points = 0
    for before in (None, old):
        number, killed = 1, True
        while killed:
            folder = place / f"{before is None}-{number}"
            if before:
                write_folder(before, folder)
            killed = dies(new, folder, number)
            index = folder / "index.json"
            found = index.read_bytes() if index.exists() else None
            assert found in (before and before.index, new.index), found
            wanted = new if found == new.index else before
            assert wanted is None or {*wanted.blobs} <= files(folder)
            write_folder(new, folder)
            assert files(folder) == {*new.blobs}
            assert {path.name for path in folder.iterdir()} == {"blobs", "index.json", "oci-layout"}
            number, points = number + 1, points + killed
    print(points, "points")


def dies(found: Contents, folder: Path, number: int) -> bool:
    child = os.fork()
    if child == 0:
        with at_call(number, die):
            write_folder(found, folder)
        os._exit(0)
    status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    assert status in (0, 137), status
    return status != 0


if __name__ == "__main__":
    main(Path(sys.argv[1]))
