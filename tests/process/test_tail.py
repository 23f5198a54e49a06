"""The end of a log: its last words, its last lines."""

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from argosy.process import tail


def test_the_last_line_that_says_something_since_a_start(tmp_path: Path):
    path = tmp_path / "a.log"
    path.write_text("old\n")
    assert tail.last_words(path, path.stat().st_size) == ""
    with path.open("a") as more:
        more.write("one\ntwo\n\n  \n")
    assert tail.last_words(path, 4) == "two"
    assert tail.last_words(path, 10_000) == "two"
    assert tail.last_words(tmp_path / "none") == ""
    path.write_text("x" * 100_000 + "\n")
    assert tail.last_words(path) == "x" * 500


@given(st.binary(max_size=60), st.integers(0, 80), st.integers(0, 80))
def test_the_end_is_what_was_written_since_and_no_more_than_asked(tmp_path_factory, data: bytes, size: int, start: int):
    path = tmp_path_factory.mktemp("t") / "x.log"
    path.write_bytes(data)
    since = data[start:] if start <= len(data) else data
    assert tail.end(path, size, start) == (since[-size:] if size else b"")


@given(
    st.lists(st.text(st.characters(codec="ascii", exclude_categories=["Cc"]), max_size=50), max_size=30),
    st.integers(0, 40),
)
def test_the_last_lines(tmp_path_factory, lines: list[str], count: int):
    path = tmp_path_factory.mktemp("t") / "x.log"
    path.write_text("".join(f"{line}\n" for line in lines))
    end, found = tail.lines(path, count)
    assert found.decode().splitlines() == (lines[-count:] if count else [])
    assert end == path.stat().st_size


def test_the_last_lines_of_a_large_file(tmp_path: Path):
    path = tmp_path / "x.log"
    path.write_text("".join(f"line {n}\n" for n in range(30_000)))
    assert tail.lines(path, 2)[1] == b"line 29998\nline 29999\n"


def append(path: Path, text: str):
    with path.open("a") as file:
        file.write(text)


@pytest.fixture
def log(tmp_path: Path) -> Iterator[tuple[Path, tail.Follower]]:
    path = tmp_path / "x.log"
    path.write_text("old\n")
    with tail.Follower(path, 4) as follower:
        yield path, follower


def test_only_what_is_new(log: tuple[Path, tail.Follower]):
    path, follower = log
    assert follower.read() == b""
    append(path, "one\ntw")
    assert (follower.read(), follower.read()) == (b"one\ntw", b"")
    append(path, "o\n" + 70_000 * "x")
    assert (len(follower.read()), len(follower.read()), follower.read()) == (65536, 4466, b"")


def test_renamed(log: tuple[Path, tail.Follower]):
    path, follower = log
    append(path, "before\n")
    path.rename(path.with_name("x.log.1"))
    assert (follower.read(), follower.read()) == (b"before\n", b"")
    path.write_text("after\n")
    assert (follower.read(), follower.read()) == (b"after\n", b"")


def test_copied_and_emptied_loses_nothing(log: tuple[Path, tail.Follower]):
    path, follower = log
    append(path, "before\n")
    shutil.copyfile(path, path.with_name("x.log.1"))
    path.write_text("a\n")
    assert (follower.read(), follower.read(), follower.read()) == (b"before\n", b"a\n", b"")


def test_emptied_without_a_copy(log: tuple[Path, tail.Follower]):
    path, follower = log
    append(path, "something long enough\n")
    assert follower.read() == b"something long enough\n"
    path.write_text("new\n")
    assert (follower.read(), follower.read()) == (b"new\n", b"")
