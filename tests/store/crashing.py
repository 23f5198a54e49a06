"""Run by test_crash: push in a forked child that dies at the n-th change of the disk, for every n."""

import os
import sys
from pathlib import Path

from argosy.store.layout import Layout
from tests.store.faults import at_call, die
from tests.store.samples import FILES, model_manifest, write_folder


def main(place: Path) -> None:
    folder = write_folder(place / "package")
    other = write_folder(place / "other", FILES | {"weights/model.onnx": b"other"})
    layout = Layout(place / "store")
    before = layout.put_folder(other, manifest=model_manifest())
    number = 1
    while not survives(place, number):
        again = Layout(place / "store")
        assert before in again.index.digests()
        for digest in again.index.digests():
            again.verify(digest)
        again.untag("digits:1")
        again.collect([before], grace=0)
        assert again.index.digests() == {before}
        assert len(list(again.blobs.folder.iterdir())) == len(FILES) + 2
        assert list(again.blobs.temporary.iterdir()) == []
        number += 1
    digest = layout.put_folder(folder, manifest=model_manifest())
    layout.verify(digest)
    print(number - 1, "points")


def survives(place: Path, number: int) -> bool:
    child = os.fork()
    if child == 0:
        with at_call(number, die):
            layout = Layout(place / "store")
            digest = layout.put_folder(place / "package", manifest=model_manifest())
            layout.tag(digest, "digits:1")
            layout.untag("digits:1")
        os._exit(0)
    status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    assert status in (0, 137), status
    return status == 0


if __name__ == "__main__":
    main(Path(sys.argv[1]))
