"""What users write: unknown keys are refused, with the nearest known name, and so are numbers beyond their bounds."""

import difflib
import math
import re
import typing
from collections.abc import Iterable, Mapping
from functools import cache
from pathlib import Path
from typing import Annotated, Any, ClassVar, TypeVar

import msgspec
from msgspec import Meta
from msgspec.inspect import FloatType, IntType, StructType, UnionType

from argosy.spec import foreign
from argosy.spec.errors import ArgosyError, BadPackage, InvalidArgument

T = TypeVar("T")

MOST_KEY = 80
"""Characters of a key that a nearest one is searched for, and that are shown."""

Count = Annotated[int, Meta(ge=1)]
Port = Annotated[int, Meta(ge=0, le=65535)]
Share = Annotated[float, Meta(ge=0, le=1)]
InnerShare = Annotated[float, Meta(gt=0, lt=1)]
Amount = Annotated[float, Meta(ge=0)]
Positive = Annotated[float, Meta(gt=0)]

_BOUND = re.compile(r"Expected `(?:int|float)` (?P<sign>[<>]=?) (?P<bound>\S+?)(?:\.0)? - at `\$\.(?P<at>[^`]*)`")
_SIGNS = {">=": "at least", ">": "above", "<=": "at most", "<": "below"}
_VALUE = re.compile(r"Invalid enum value (?P<value>.*) - at `\$\.(?P<at>[^`]*)`")
_UNKNOWN = re.compile(r"Object contains unknown field `(?P<key>[^`]*)`(?: - at `(?P<at>[^`]*)`)?")


class Declaration(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What users declare. Numbers are finite and within the bounds of their types, also where a declaration is made in
    Python, for which msgspec does not check them."""

    where: ClassVar[str] = ""
    """What precedes the name of a field in a message."""

    def __post_init__(self) -> None:
        for name, kind in _numbers(type(self)):
            value = getattr(self, name)
            if not isinstance(value, int | float):
                continue
            checks = (
                ("finite", math.isfinite(value)),
                (f"at least {kind.ge}", kind.ge is None or value >= kind.ge),
                (f"above {kind.gt}", kind.gt is None or value > kind.gt),
                (f"at most {kind.le}", kind.le is None or value <= kind.le),
                (f"below {kind.lt}", kind.lt is None or value < kind.lt),
            )
            require(self.where, {f"{name} must be {bound}, not {value:g}": good for bound, good in checks})


def require(where: str, checks: Mapping[str, bool]) -> None:
    """Raise InvalidArgument with the first message, after `where`, that is not true."""
    for message, good in checks.items():
        if not good:
            raise InvalidArgument(f"{where}{message}")


@cache
def _numbers(kind: type[Declaration]) -> list[tuple[str, IntType | FloatType]]:
    """The fields of a declaration that are numbers, with their bounds."""
    info = msgspec.inspect.type_info(kind)
    assert isinstance(info, StructType)
    return [
        (field.name, each)
        for field in info.fields
        for each in (field.type.types if isinstance(field.type, UnionType) else (field.type,))
        if isinstance(each, IntType | FloatType)
    ]


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


def parse(data: bytes | str, kind: type[T], wrong: str, error: type[ArgosyError] = BadPackage) -> T:
    """JSON that no user wrote → `kind`. Raises `error`, saying what is `wrong`, and why."""
    try:
        return msgspec.json.decode(data, type=kind)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as why:
        raise error(f"{wrong}: {why}") from None


def document(path: Path, kind: type[T], name: str, most: int) -> T:
    """A file of a package in JSON, of at most so many bytes, called `name`. Raises BadPackage."""
    try:
        if path.stat().st_size > most:
            raise BadPackage(f"{name} is larger than {most} bytes")
        return parse(path.read_bytes(), kind, f"{name} cannot be read")
    except OSError as error:
        raise BadPackage(f"{name} cannot be read: {error}") from None


def stored(path: Path, kind: type[T]) -> T | None:
    """What a file of ours says in JSON; None where it is not there, or broken."""
    try:
        return msgspec.json.decode(path.read_bytes(), type=kind)
    except (OSError, msgspec.MsgspecError, UnicodeDecodeError):
        return None


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
    """msgspec's message: in words for a number beyond its bounds, with the values or the nearest field there are."""
    if bound := _BOUND.search(message):
        return f"{bound['at']} must be {_SIGNS[bound['sign']]} {bound['bound']}"
    if wrong := _VALUE.search(message):
        values = _fields(kind).get(wrong["at"].rpartition(".")[2], ())
        return f"{wrong['at']} is {', '.join(map(repr, values))}, not {wrong['value']}" if values else message
    match = _UNKNOWN.search(message)
    if match is None:
        return message
    key, at = match["key"], match["at"] or "$"
    near = difflib.get_close_matches(key, _fields(kind), n=1) if len(key) <= MOST_KEY else []
    return f"unknown key '{key[:MOST_KEY]}' at {at}" + (f"; did you mean '{near[0]}'?" if near else "")


def repeated(names: Iterable[str]) -> str | None:
    """The first that is there a second time; None where each is there once."""
    known: set[str] = set()
    for name in names:
        if name in known:
            return name
        known.add(name)
    return None


def _fields(kind: type[Any]) -> dict[str, tuple[Any, ...]]:
    """Every field name that occurs in `kind` or in a struct inside it, with its values where its type lists them."""
    found: dict[str, tuple[Any, ...]] = {}
    pending: list[Any] = [kind]
    visited: set[int] = set()
    while pending:
        current = pending.pop()
        if id(current) in visited:
            continue
        visited.add(id(current))
        if isinstance(current, type) and issubclass(current, msgspec.Struct):
            for field in msgspec.structs.fields(current):
                values = typing.get_args(field.type) if typing.get_origin(field.type) is typing.Literal else ()
                found[field.encode_name] = values or found.get(field.encode_name, ())
                pending.append(field.type)
        pending.extend(typing.get_args(current))
    return found
