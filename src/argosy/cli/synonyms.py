"""What words mean that people type and that are no commands; the words stand in `synonyms.toml`."""

import tomllib
from collections.abc import Container, Sequence
from functools import cache
from pathlib import Path
from typing import Any


@cache
def table(section: str) -> dict[str, Any]:
    """Word → what it can mean, of a section of the file."""
    found = tomllib.loads(Path(__file__).with_suffix(".toml").read_text())[section]
    return {word: meant for words, meant in found.items() for word in words.split()}


def noun_first(words: Sequence[str]) -> list[str]:
    """`delete key K` as `keys delete K`, `delete endpoint E`, `endpoint delete E` as `undeploy E`; else the words."""
    nouns, endpoints = table("nouns"), table("endpoints")
    for verb, noun in (words[:2], words[1::-1]) if len(words) > 1 else ():
        group = nouns.get(noun, "")
        if group == "endpoints" and verb in endpoints:
            return [endpoints[verb], *words[2:]]
        if group not in ("", "endpoints") and (verb in table("root") or verb in table("within")) and verb not in nouns:
            return [group, verb, *words[2:]]
    return list(words)


def meanings(word: str, commands: Container[str], *, root: bool) -> Sequence[str]:
    """The commands that a word can mean: below `argosy` itself, or in a group that has `commands`."""
    if root:
        return table("root").get(word, ())
    return [each for each in table("within").get(word, ()) if each in commands]
