"""The table of CONTRIBUTING.md is true: files are there, and what registers a thing is in the file that it names."""

import re
from pathlib import Path

import pytest

PAGE = Path("CONTRIBUTING.md").read_text()
TABLE = PAGE.partition("## Where a new one goes\n")[2]
ROWS = [line.split(" | ") for line in TABLE.splitlines() if line.startswith("| ")][2:]
ELSEWHERE = {"distribution", "python -m"}
PAIR = re.compile(r"((?:`[^`]+`(?:, | and )?)+) (?:in|of) `([^`]+\.py)`")
"""Names, and the file in which they stand."""
PATH = re.compile(r"[a-z_]+(?:/[a-z_]+)+\.(?:py|toml)")


def place(path):
    return next((each for each in (Path(path), Path("src/argosy") / path) if each.is_file()), None)


def test_the_table_has_what_an_extension_may_be():
    names = {row[0].removeprefix("| ") for row in ROWS}
    assert {"command", "engine", "target", "protocol", "scaling policy", "monitor", "table"} <= names


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row[0].removeprefix("| ").replace(" ", "-"))
def test_files_exist_and_registrations_stand_in_them(row):
    words = re.findall(r"`([^`]+)`", " ".join(row[1:3]))
    texts = [path.read_text() for word in words if PATH.fullmatch(word) for path in [place(word)] if path]
    assert len(texts) == len([word for word in words if PATH.fullmatch(word)])
    for word in words:
        known = PATH.fullmatch(word) or "NAME" in word or (Path("src/argosy") / word).is_dir() or word in ELSEWHERE
        assert known or any(word in text for text in texts), word
    for names, path in PAIR.findall(" ".join(row[1:3])):
        text = place(path).read_text()
        assert [name for name in re.findall(r"`([^`]+)`", names) if "NAME" not in name and name not in text] == []


def test_targets_of_make_are_in_the_makefile():
    rules = Path("Makefile").read_text()
    for name in re.findall(r"make ([a-z-]+)", PAGE):
        assert re.search(rf"^{name}:", rules, re.MULTILINE), name


def test_marks_are_those_of_pytest():
    assert {"slow", "torch"} == set(re.findall(r'^  "(\w+): ', Path("pyproject.toml").read_text(), re.MULTILINE))
    assert "| `slow` |" in PAGE
    assert "| `torch` |" in PAGE
