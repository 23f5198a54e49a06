"""Every command: where its code is, the line `argosy --help` shows, and the group it stands in; and the words that are
no commands and mean some."""

import tomllib
from collections.abc import Container, Sequence
from functools import cache
from importlib import import_module
from pathlib import Path
from typing import Any, NamedTuple

import click

ENTRY_POINTS = "argosy.commands"


class CommandEntry(NamedTuple):
    """A line of `catalog.toml`, which says what stands there, and the section in which it does."""

    section: str
    help: str
    module: str = ""
    distribution: str = ""

    def load(self, name: str) -> click.Command | None:
        """Import the command; None if its distribution is not installed."""
        if not self.distribution:
            return getattr(import_module(f"argosy.cli.{self.module}"), name)
        from importlib.metadata import entry_points

        return next((point.load() for point in entry_points(group=ENTRY_POINTS, name=name)), None)


COMMANDS = {
    name: CommandEntry(section=section, **entry)
    for section, entries in tomllib.loads(Path(__file__).with_suffix(".toml").read_text()).items()
    for name, entry in entries.items()
}


def sections() -> dict[str, list[tuple[str, str]]]:
    """Heading → (command, its line), in the order of the table."""
    found: dict[str, list[tuple[str, str]]] = {}
    for name, entry in COMMANDS.items():
        found.setdefault(entry.section, []).append((name, entry.help))
    return found


@cache
def words_of(section: str) -> dict[str, Any]:
    """Word that is no command → what it can mean, of a section of `synonyms.toml`."""
    found = tomllib.loads(Path(__file__).with_name("synonyms.toml").read_text())[section]
    return {word: meant for words, meant in found.items() for word in words.split()}


def noun_first(words: Sequence[str]) -> list[str]:
    """`delete key K` as `keys delete K`, `delete endpoint E`, `endpoint delete E` as `undeploy E`; else the words."""
    nouns, endpoints = words_of("nouns"), words_of("endpoints")
    for verb, noun in (words[:2], words[1::-1]) if len(words) > 1 else ():
        group = nouns.get(noun, "")
        if group == "endpoints" and verb in endpoints:
            return [endpoints[verb], *words[2:]]
        if (
            group not in ("", "endpoints")
            and (verb in words_of("root") or verb in words_of("within"))
            and verb not in nouns
        ):
            return [group, verb, *words[2:]]
    return list(words)


def meanings(word: str, commands: Container[str], *, root: bool) -> Sequence[str]:
    """The commands that a word can mean: below `argosy` itself, or in a group that has `commands`."""
    if root:
        return words_of("root").get(word, ())
    return [each for each in words_of("within").get(word, ()) if each in commands]
