"""Decoding what users write: unknown keys are refused, and the nearest known name is offered."""

import difflib
import re
import typing
from collections.abc import Iterable
from typing import Any, TypeVar

import msgspec

from argosy.spec import foreign
from argosy.spec.errors import InvalidArgument

T = TypeVar("T")

MOST_KEY = 80
"""Characters of a key that a nearest one is looked for, and that are told."""

_UNKNOWN = re.compile(r"Object contains unknown field `(?P<key>[^`]*)`(?: - at `(?P<at>[^`]*)`)?")


def decode(data: bytes | str, kind: type[T], where: str) -> T:
    """JSON → `kind`. Raises InvalidArgument naming `where`, the path inside it, and the nearest known key."""
    try:
        return msgspec.json.decode(data, type=kind)
    except msgspec.ValidationError as error:
        raise InvalidArgument(f"{where}: {explain(str(error), kind)}") from None
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise InvalidArgument(f"{where} is not valid JSON: {error}") from None
    except RecursionError:
        raise InvalidArgument(f"{where} is nested too deep") from None


def convert(data: Any, kind: type[T], where: str, *, strict: bool = True) -> T:
    """Plain dicts and lists (from YAML, say) → `kind`, with the same messages as `decode`."""
    try:
        return msgspec.convert(data, kind, strict=strict)
    except msgspec.ValidationError as error:
        raise InvalidArgument(f"{where}: {explain(str(error), kind)}") from None


def load_yaml(text: str | bytes, kind: type[T], where: str) -> T:
    """YAML of one document, as `foreign` reads it → `kind`. Raises InvalidArgument."""
    data = foreign.document(text, where)
    return convert(data if data is not None else {}, kind, where)


def load_yaml_documents(text: str | bytes, kind: type[T], where: str) -> list[T]:
    """YAML of any number of documents → each as `kind`; empty ones are left out. Raises InvalidArgument."""
    found = foreign.documents(text, where)
    return [
        convert(data, kind, f"{where}, document {number}" if number > 1 else where)
        for number, data in enumerate(found, 1)
    ]


def dump_yaml(value: Any) -> str:
    """A struct as YAML, keys in declaration order."""
    import yaml

    return yaml.safe_dump(msgspec.to_builtins(value), sort_keys=False, allow_unicode=True)


def explain(message: str, kind: type[Any]) -> str:
    """msgspec's message, with the nearest known field where a key is unknown."""
    match = _UNKNOWN.search(message)
    if match is None:
        return message
    key, at = match["key"], match["at"] or "$"
    near = difflib.get_close_matches(key, _fields(kind), n=1) if len(key) <= MOST_KEY else []
    return f"unknown key '{key[:MOST_KEY]}' at {at}" + (f"; did you mean '{near[0]}'?" if near else "")


def repeated(names: Iterable[str]) -> str | None:
    """The first that is there a second time; None where each is there once."""
    seen: set[str] = set()
    for name in names:
        if name in seen:
            return name
        seen.add(name)
    return None


def _fields(kind: type[Any]) -> list[str]:
    """Every field name that occurs in `kind` or in a struct inside it."""
    found: dict[str, None] = {}
    pending: list[Any] = [kind]
    seen: set[int] = set()
    while pending:
        current = pending.pop()
        if id(current) in seen:
            continue
        seen.add(id(current))
        if isinstance(current, type) and issubclass(current, msgspec.Struct):
            for field in msgspec.structs.fields(current):
                found[field.encode_name] = None
                pending.append(field.type)
        pending.extend(typing.get_args(current))
    return list(found)
