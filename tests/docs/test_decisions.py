"""Decisions have one form and an index; the public surface names every command and setting."""

import re
from pathlib import Path

import msgspec
import pytest

from argosy.cli.catalog import COMMANDS
from argosy.spec.settings import Settings

FOLDER = Path("docs/decisions")
FILES = sorted(FOLDER.glob("[0-9]*.md"))
ROOTS = (Path("src/argosy"), Path("distributions/edge/src"), Path())
SURFACE = FOLDER / "0004-public-surface.md"
DEFAULT = re.compile(r"`(\w+)` \(([\d,]+)[):]")
"""A setting with its default, as in `max_connections` (2,048)."""


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_a_decision_has_its_number_and_three_headings(path):
    lines = path.read_text().splitlines()
    assert lines[0].startswith(f"# {int(path.name[:4])}. ")
    assert [line for line in lines if line.startswith("## ")] == ["## Context", "## Decision", "## Consequence"]


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_files_that_a_decision_names_exist(path):
    named = re.findall(r"`((?:\w+/)+\w+\.(?:py|lua|toml))`", path.read_text())
    assert [each for each in named if not any((root / each).is_file() for root in ROOTS)] == []


def test_numbers_are_there_once_and_the_index_names_each_file_with_its_title():
    numbers = [int(path.name[:4]) for path in FILES]
    assert len(numbers) == len({*numbers})  # several are written at a time, and land in any order
    titles = [(path.read_text().splitlines()[0].removeprefix("# "), path.name) for path in FILES]
    assert re.findall(r"\[(.*)\]\(([^)]*)\)", (FOLDER / "README.md").read_text()) == titles


def rows(heading):
    """The first two columns of the table under a heading of the public surface."""
    section = SURFACE.read_text().partition(f"### {heading}\n")[2].partition("\n#")[0]
    cells = [line.split(" | ") for line in section.splitlines() if line.startswith("| `")]
    return [(set(re.findall(r"`([^`]+)`", each[0])), set(re.findall(r"`([^`]+)`", each[1]))) for each in cells]


def test_the_public_surface_names_every_command():
    named = [name for names, _ in rows("Commands") for name in names]
    assert sorted(named) == sorted(COMMANDS)


def test_the_public_surface_names_every_setting():
    named = {next(iter(section)): keys for section, keys in rows("Settings (`config.yaml`, or `ARGOSY_SECTION_KEY`)")}
    sections = msgspec.structs.fields(Settings)
    changed = {line.split("`")[1]: line for line in SURFACE.read_text().splitlines() if line.startswith("| `")}
    assert named.keys() == {each.name for each in sections}
    for each in sections:
        if each.name != "alerts":
            defaults = {field.name: field.default for field in msgspec.structs.fields(each.type)}
            stated = {name: int(number.replace(",", "")) for name, number in DEFAULT.findall(changed[each.name])}
            assert stated == {name: defaults[name] for name in stated}
            assert named[each.name] == {field.name for field in msgspec.structs.fields(each.type)}
