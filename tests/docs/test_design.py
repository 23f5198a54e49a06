"""The design page is one page, its picture is what import-linter holds, and its walks name files that are there."""

import re
import tomllib
from pathlib import Path

import pytest

PAGE = Path("docs/design.md").read_text()
SOURCE = Path("src/argosy")
FILE = re.compile(r"`([a-z_]+(?:/[a-z_]+)+\.(?:py|lua))`")


def section(heading):
    """The text below a heading, to the next one of its level."""
    level = heading.split()[0]
    found = PAGE.partition(f"\n{heading}")[2]
    assert found, heading
    return re.split(rf"\n#{{2,{len(level)}}} ", found)[0]


WALKS = re.findall(r"^### (\w+):", section("## Walks"), re.MULTILINE)


def test_the_page_has_at_most_120_lines_of_at_most_170_characters():
    lines = PAGE.splitlines()
    assert len(lines) <= 120
    assert not [line for line in lines if len(line) > 170]


def test_there_are_five_walks():
    assert WALKS == ["Request", "Declaration", "Payload", "Package", "Batch"]


@pytest.mark.parametrize("walk", WALKS)
def test_a_walk_names_at_most_12_files_each_once(walk):
    files = FILE.findall(section(f"### {walk}"))
    assert 6 <= len(files) <= 12
    assert len(set(files)) == len(files)


def test_every_file_on_the_page_exists():
    files = FILE.findall(PAGE)
    assert len(files) > 50
    assert [file for file in files if not (SOURCE / file).is_file()] == []


def test_every_class_in_the_glossary_exists():
    names = re.findall(r"\b[A-Z][a-z]+[A-Z][A-Za-z]+\b", section("## Glossary"))
    wanted = {name for name in names if name.endswith("Status")}
    text = "".join(path.read_text() for path in (SOURCE / "spec").glob("*.py"))
    assert wanted
    assert [name for name in wanted if f"class {name}(" not in text] == []


def test_the_picture_is_the_layers_of_import_linter():
    contracts = tomllib.loads(Path("pyproject.toml").read_text())["tool"]["importlinter"]["contracts"]
    layers = [[room.strip() for room in layer.split("|")] for layer in contracts[0]["layers"]]
    drawn = []
    for mark, room in re.findall(r"^([├│]) (\w+) ", section("## Rooms"), re.MULTILINE):
        drawn[-1].append(room) if mark == "│" else drawn.append([room])
    assert drawn == layers


def test_every_room_is_in_the_picture():
    rooms = {path.parent.name for path in SOURCE.glob("*/__init__.py")}
    assert {room for _, room in re.findall(r"^([├│]) (\w+) ", PAGE, re.MULTILINE)} == rooms


def test_a_term_of_the_glossary_stands_once():
    rows = re.findall(r"^\| ([^|]+) \| ", section("## Glossary"), re.MULTILINE)
    terms = [term.strip() for row in rows[2:] for term in row.split(";")]
    assert len(terms) > 50
    assert sorted(terms) == sorted(set(terms))
