from hypothesis import given
from hypothesis import strategies as st

from argosy.store.index import tag_of, with_manifest, with_tag, without_manifests, without_tag
from argosy.store.manifest import MANIFEST, Descriptor
from tests.store.samples import digest_of

numbers, refs = st.integers(0, 3), st.sampled_from(["a", "b", "c"])
steps = st.lists(
    st.tuples(st.just("put"), numbers, st.none())
    | st.tuples(st.just("tag"), numbers, refs)
    | st.tuples(st.just("untag"), st.none(), refs)
    | st.tuples(st.just("drop"), numbers, st.none())
)


@given(steps)
def test_an_index_agrees_with_a_set_and_a_dict(script: list[tuple[str, int | None, str | None]]):
    entries: tuple[Descriptor, ...] = ()
    there: set[str] = set()
    tags: dict[str, str] = {}
    for verb, number, ref in script:
        digest = digest_of(number or 0)
        if verb == "put":
            entries = with_manifest(entries, Descriptor(media_type=MANIFEST, digest=digest, size=1))
            there.add(digest)
        elif verb == "tag" and digest in there and ref:
            entries = with_tag(entries, digest, ref)
            tags[ref] = digest
        elif verb == "untag" and ref:
            entries = without_tag(entries, ref)
            tags.pop(ref, None)
        elif verb == "drop":
            entries = without_manifests(entries, {digest})
            there.discard(digest)
            tags = {tag: target for tag, target in tags.items() if target != digest}
        assert {entry.digest for entry in entries} == there
        assert {tag_of(entry): entry.digest for entry in entries if tag_of(entry)} == tags
        assert len(entries) == len(set(map(repr, entries)))
        untagged = {entry.digest for entry in entries if not tag_of(entry)}
        assert untagged == there - set(tags.values())
