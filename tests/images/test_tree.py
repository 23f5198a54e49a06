import io
import os
import sys
import tarfile
from pathlib import Path

from argosy.images.tree import Tree, without_symbols


def _bytes(tree):
    sink = io.BytesIO()
    tree.write(sink, 7)
    return sink.getvalue()


def test_the_same_files_give_the_same_archive_in_any_order_and_from_any_mode(tmp_path):
    one, other = Tree(), Tree()
    file = tmp_path / "file"
    file.write_bytes(b"content")
    os.chmod(file, 0o600)
    one.file("a/b", file)
    one.link("a/c", "b")
    other.link("a/c", "b")
    other.file("a/b", b"content")
    assert _bytes(one) == _bytes(other)
    with tarfile.open(fileobj=io.BytesIO(_bytes(one))) as archive:
        entries = {entry.name: entry for entry in archive}
    assert list(entries) == ["a", "a/b", "a/c"]
    assert {(each.uid, each.gid, each.uname, each.mtime) for each in entries.values()} == {(0, 0, "", 7)}
    assert entries["a/b"].mode == 0o644
    assert entries["a"].mode == 0o755


def test_an_elf_file_loses_its_sections_and_keeps_what_is_mapped():
    data = Path(sys.executable).resolve().read_bytes()
    cut = without_symbols(data)
    assert len(cut) < len(data)
    assert cut[64:] == data[64 : len(cut)]
    assert without_symbols(cut) == cut


def test_only_what_is_to_be_stripped_loses_them(tmp_path):
    """A package is what its digest says, whatever its files begin with."""
    data = Path(sys.executable).resolve().read_bytes()
    for strip in (False, True):
        tree = Tree()
        tree.file("file", Path(sys.executable).resolve(), strip=strip)
        tree.file("bytes", data, strip=strip)
        tree.unpack(tmp_path)
        with tarfile.open(fileobj=io.BytesIO(_bytes(tree))) as archive:
            for name in ("file", "bytes"):
                inside = archive.extractfile(name).read()
                assert inside == (tmp_path / name).read_bytes() == (without_symbols(data) if strip else data)
