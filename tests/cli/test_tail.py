import shutil

import pytest

from argosy.cli.tail import Follower, follow


@pytest.fixture
def log(tmp_path):
    path = tmp_path / "x.log"
    path.write_text("old\n")
    follower = Follower(path)
    yield path, follower
    follower.close()


def append(path, text):
    with path.open("a") as file:
        file.write(text)


def test_only_what_is_new_and_whole(log):
    path, follower = log
    assert list(follower.lines()) == []
    append(path, "one\ntw")
    assert list(follower.lines()) == ["one"]
    append(path, "o\n")
    assert list(follower.lines()) == ["two"]


def test_renamed(log):
    path, follower = log
    append(path, "before\n")
    path.rename(path.with_name("x.log.1"))
    assert list(follower.lines()) == ["before"]
    path.write_text("after\n")
    assert list(follower.lines()) == ["after"]


def test_copied_and_emptied_loses_nothing(log):
    path, follower = log
    append(path, "before\n")
    shutil.copyfile(path, path.with_name("x.log.1"))
    path.write_text("a\n")
    assert list(follower.lines()) == ["before", "a"]


def test_emptied_without_a_copy(log):
    path, follower = log
    append(path, "something long enough\n")
    assert list(follower.lines()) == ["something long enough"]
    path.write_text("new\n")
    assert list(follower.lines()) == ["new"]


def test_follow_finds_new_files(tmp_path):
    (tmp_path / "a.log").write_text("old\n")
    steps = iter([("a.log", "one\n"), ("b.log", "first\n"), None])

    def wait():
        step = next(steps)
        if step:
            append(tmp_path / step[0], step[1])
        return step is not None

    assert list(follow(lambda: sorted(tmp_path.glob("*.log")), wait)) == [("a", "one"), ("b", "first")]
