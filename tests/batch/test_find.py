import gzip
import os

import pytest

from argosy.batch.find import codec_of, find
from argosy.batch.place import place
from argosy.spec.errors import InvalidArgument, NotFound, PermissionDenied

TEXT = b"a,b\n1,2\n"
TREE = ("a/1.csv", "a/2.csv", "a/_SUCCESS.csv", "a/.hidden.csv", "_logs/3.csv", "b/c/4.csv", "b/5.csv", "z.csv.gz")


@pytest.fixture(params=["disk", "bucket"])
def folder(request, tmp_path):
    found = place(str(tmp_path) if request.param == "disk" else f"{request.getfixturevalue('s3')}/{tmp_path.name}")
    for name in TREE:
        found.join(name).create(gzip.compress(TEXT) if name.endswith(".gz") else TEXT)
    return found


@pytest.mark.parametrize(
    ("inputs", "names"),
    [
        ([""], ["a/1.csv", "a/2.csv", "b/5.csv", "b/c/4.csv", "z.csv.gz"]),
        (["a"], ["a/1.csv", "a/2.csv"]),
        (["*/*.csv"], ["a/1.csv", "a/2.csv", "b/5.csv"]),
        (["**/*.csv"], ["a/1.csv", "a/2.csv", "b/5.csv", "b/c/4.csv"]),
        (["b/**"], ["b/5.csv", "b/c/4.csv"]),
        (["b", "a/[12].csv", "b/5.csv"], ["b/5.csv", "b/c/4.csv", "a/1.csv", "a/2.csv"]),
        (["a/_SUCCESS.csv"], ["a/_SUCCESS.csv"]),
    ],
)
def test_files_are_found_in_one_order(folder, inputs, names):
    files = find([f"{folder}/{text}" for text in inputs])
    assert [file.url for file in files] == [f"{folder}/{name}" for name in names]
    assert {file.format for file in files} == {"csv"}
    assert {file.size for file in files if not file.url.endswith(".gz")} == {len(TEXT)}
    assert find([f"{folder}/{text}" for text in inputs]) == files


def test_a_changed_file_is_another_one(folder):
    before = find([f"{folder}/a"])
    folder.join("a/1.csv").put(b"a,b\n3,4\n")
    after = find([f"{folder}/a"])
    assert [one == two for one, two in zip(before, after, strict=True)] == [False, True]


@pytest.mark.parametrize("text", ["none", "a/*.parquet", "_logs"])
def test_what_names_nothing_is_said(folder, text):
    with pytest.raises(NotFound, match=r"(nothing matches|there is no file at).*left out"):
        find([f"{folder}/{text}" if text != "_logs" else f"{folder}/a/_*"])


def test_mixed_unknown_and_empty_files(tmp_path):
    (tmp_path / "1.csv").write_bytes(b"a\n1\n")
    (tmp_path / "2.parquet").write_bytes(b"PAR1")
    with pytest.raises(InvalidArgument, match=r"several formats: 1.csv \(csv\), 2.parquet \(parquet\)"):
        find([str(tmp_path)])
    (tmp_path / "2.parquet").rename(tmp_path / "2.txt")
    with pytest.raises(InvalidArgument, match=r"2\.txt: rows are read from"):
        find([str(tmp_path)])
    (tmp_path / "2.txt").rename(tmp_path / "2.csv")
    os.truncate(tmp_path / "2.csv", 0)
    with pytest.raises(InvalidArgument, match=r"2\.csv is empty"):
        find([str(tmp_path)])
    (tmp_path / "2.csv").rename(tmp_path / "2.npy.gz")
    with pytest.raises(InvalidArgument, match=r"2\.npy\.gz: rows are read from"):
        find([str(tmp_path)])


def test_a_name_with_a_wildcard_in_it_is_taken_as_it_is(tmp_path):
    (tmp_path / "a[1].csv").write_bytes(b"a\n1\n")
    (tmp_path / "a1.csv").write_bytes(b"a\n1\n")
    assert [file.url for file in find([str(tmp_path / "a[1].csv")])] == [str(tmp_path / "a[1].csv")]


def test_compression_goes_by_the_last_ending():
    assert [codec_of(name) for name in ("x.csv.gz", "x.jsonl.ZST", "x.csv")] == ["gzip", "zstd", ""]


def test_links_are_followed_and_end(tmp_path):
    (tmp_path / "far").mkdir()
    (tmp_path / "far/1.csv").write_bytes(TEXT)
    (tmp_path / "in").mkdir()
    (tmp_path / "in/data").symlink_to(tmp_path / "far")
    (tmp_path / "far/again").symlink_to(tmp_path / "in")
    assert [file.url for file in find([str(tmp_path / "in")])] == [str(tmp_path / "in/data/1.csv")]


def test_a_folder_that_may_not_be_read_is_named(tmp_path, monkeypatch):
    (tmp_path / "1.csv").write_bytes(TEXT)

    def closed(path):
        raise PermissionError(13, "Permission denied", path)

    monkeypatch.setattr(os, "scandir", closed)
    with pytest.raises(PermissionDenied, match=str(tmp_path)):
        find([str(tmp_path)])
