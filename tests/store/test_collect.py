import os
import time
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from argosy.spec.errors import BadPackage
from argosy.store.collect import living
from argosy.store.index import SUBJECT
from argosy.store.layout import Layout
from argosy.store.manifest import MANIFEST, REF_NAME, Descriptor
from tests.store.samples import FILES, digest_of, model_manifest, write_folder


def test_only_what_is_named_stays(layout: Layout, tmp_path: Path):
    packages = [write_folder(tmp_path / str(n), FILES | {"profile.json": b"%d" % n}) for n in range(3)]
    kept, tagged, loose = [layout.put_folder(folder, manifest=model_manifest()) for folder in packages]
    layout.tag(tagged, "x")
    notes = {digest: layout.attach(digest, "a/b", digest.encode(), "a/b") for digest in (kept, tagged, loose)}
    collected = layout.collect([kept], grace=0)
    assert (collected.manifests, collected.blobs) == (2, 5)
    assert layout.index.digests() == {kept, tagged, notes[kept], notes[tagged]}
    layout.verify(kept)
    layout.verify(tagged)
    assert layout.collect([kept], grace=0).blobs == 0
    layout.untag("x")
    layout.collect([], grace=0)
    assert list(layout.blobs.folder.iterdir()) == []


def test_what_is_young_may_still_be_on_its_way(layout: Layout, folder: Path):
    digest = layout.put_folder(folder, manifest=model_manifest())
    (layout.blobs.temporary / "half").touch()
    assert layout.collect(grace=60).blobs == 0
    layout.verify(digest)
    old = time.time() - 100
    for path in (*layout.blobs.folder.iterdir(), *layout.blobs.temporary.iterdir()):
        os.utime(path, (old, old))
    layout.put_folder(folder, manifest=model_manifest())
    assert list(layout.blobs.temporary.iterdir()) == [layout.blobs.temporary / "half"]
    assert layout.collect(grace=60).blobs == 0
    assert list(layout.blobs.temporary.iterdir()) == []
    layout.verify(digest)


def test_a_manifest_that_cannot_be_read_stops_it(layout: Layout, folder: Path):
    digest = layout.put_folder(folder, manifest=model_manifest())
    blob = layout.blobs.path(digest)
    size = blob.stat().st_size
    blob.unlink()
    blob.write_bytes(b" " * size)
    count = len(list(layout.blobs.folder.iterdir()))
    with pytest.raises(BadPackage, match="altered"):
        layout.collect([digest], grace=0)
    assert len(list(layout.blobs.folder.iterdir())) == count


@st.composite
def graphs(draw: st.DrawFn) -> tuple[tuple[Descriptor, ...], set[str]]:
    """Entries of which each may have a tag and may refer to an earlier one; and digests to keep."""
    entries: list[Descriptor] = []
    for number in range(draw(st.integers(0, 8))):
        notes = {REF_NAME: f"t{number}"} if draw(st.booleans()) else {}
        if number and draw(st.booleans()):
            notes[SUBJECT] = digest_of(draw(st.integers(0, number - 1)))
        entries.append(Descriptor(media_type=MANIFEST, digest=digest_of(number), size=1, annotations=notes))
    keep = draw(st.sets(st.integers(0, 8).map(digest_of)))
    return tuple(draw(st.permutations(entries))), keep


@given(graphs())
def test_living_is_closed_and_smallest(graph: tuple[tuple[Descriptor, ...], set[str]]):
    entries, keep = graph
    alive = living(entries, keep)
    for entry in entries:
        named = REF_NAME in entry.annotations or entry.digest in keep
        assert (entry.digest in alive) == (named or entry.annotations.get(SUBJECT) in alive)
