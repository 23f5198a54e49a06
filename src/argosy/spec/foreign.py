"""YAML and JSON that others wrote, as plain values, within bounds on time and memory.

A document is read as a stream of events, so that nothing is built before it is counted. YAML is the subset that
declarations need: mappings, sequences, and scalars that are text, numbers, booleans or null. Anchors, aliases, merge
keys, tags of other types and keys that stand twice are refused; dates stay text.
"""

import math
import re
from collections.abc import Iterator
from typing import Any, NamedTuple, cast

import msgspec

from argosy.spec.errors import InvalidArgument

MAX_BYTES = 4 * 1024 * 1024
MAX_NODES = 200_000
MAX_DEPTH = 64
LONGEST_NUMBER = 64
"""Characters of a number; text that looks like a longer one is refused, since Python's integers have no bound."""

_TAG = "tag:yaml.org,2002:"
_WORDS: dict[str, Any] = {
    **dict.fromkeys(("", "~", "null")),
    **dict.fromkeys(("true", "yes", "on"), True),
    **dict.fromkeys(("false", "no", "off"), False),
}
_ODD = {".inf": math.inf, "+.inf": math.inf, "-.inf": -math.inf, ".nan": math.nan}
_INT = re.compile(r"[-+]?(?:0b[01_]+|0x[0-9a-fA-F_]+|0[0-7_]*|[1-9][0-9_]*)")
_FLOAT = re.compile(r"[-+]?(?:[0-9][0-9_]*\.[0-9_]*|\.[0-9][0-9_]*)(?:[eE][-+][0-9]+)?")
_KINDS = {bool: "bool", int: "int", float: "float", type(None): "null", str: "str"}


class _Open(NamedTuple):
    """A collection that is being read: what is in it, and its key that still waits for a value."""

    value: dict[Any, Any] | list[Any]
    key: list[Any]


def documents(text: str | bytes, where: str, *, limit: int = MAX_BYTES) -> list[Any]:
    """The documents of a YAML text, those that are empty left out. Raises InvalidArgument naming `where`."""
    import yaml

    if len(text) > limit:
        raise InvalidArgument(f"{where} is larger than {limit} bytes")
    try:
        return [value for value in _documents(text, where) if value is not None]
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise InvalidArgument(f"{where} is not valid YAML: {error}") from None


def document(text: str | bytes, where: str, *, limit: int = MAX_BYTES) -> Any:
    """The one document of a YAML text; None where it is empty. Raises InvalidArgument naming `where`."""
    found = documents(text, where, limit=limit)
    if len(found) > 1:
        raise InvalidArgument(f"{where} is not valid YAML: it holds {len(found)} documents; one was expected")
    return found[0] if found else None


def json(data: str | bytes, where: str, *, limit: int = MAX_BYTES, nodes: int = MAX_NODES) -> Any:
    """JSON as plain values. Raises InvalidArgument naming `where`, for what has too many values or is nested too deep,
    too."""
    raw = data.encode(errors="surrogatepass") if isinstance(data, str) else data
    if len(raw) > limit:
        raise InvalidArgument(f"{where} is larger than {limit} bytes")
    if raw.count(b",") + raw.count(b"[") + raw.count(b"{") > nodes:
        raise InvalidArgument(f"{where} holds more than {nodes} values")
    try:
        return msgspec.json.decode(raw)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise InvalidArgument(f"{where} is not valid JSON: {error}") from None
    except RecursionError:
        raise InvalidArgument(f"{where} is nested too deep") from None


def _documents(text: str | bytes, where: str) -> Iterator[Any]:
    """Each document in turn, built from the events of the parser without recursion."""
    import yaml

    # libyaml's parser is twenty times as fast; not every installation of PyYAML has it.
    loader: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    root: list[Any] = []
    opened: list[_Open] = [_Open(root, [])]
    for count, event in enumerate(cast("Any", yaml).parse(text, Loader=loader)):
        if count > MAX_NODES:
            raise InvalidArgument(f"{where} holds more than {MAX_NODES} values")
        if isinstance(event, yaml.DocumentEndEvent):
            yield root.pop()
        elif isinstance(event, yaml.CollectionEndEvent):
            value = opened.pop().value
            _put(opened[-1], value, event, where)
        elif isinstance(event, yaml.NodeEvent):
            _refuse(event, where)
            if isinstance(event, yaml.ScalarEvent):
                _put(opened[-1], _scalar(event, where), event, where)
                continue
            if len(opened) > MAX_DEPTH:
                raise InvalidArgument(f"{where} is nested deeper than {MAX_DEPTH} levels{_line(event)}")
            opened.append(_Open({} if isinstance(event, yaml.MappingStartEvent) else [], []))


def _refuse(event: Any, where: str) -> None:
    import yaml

    if isinstance(event, yaml.AliasEvent) or event.anchor is not None:
        raise InvalidArgument(f"{where}: anchors and aliases are not read; write the value out{_line(event)}")
    plain = ("map",) if isinstance(event, yaml.MappingStartEvent) else ("seq",)
    plain = ("str", "int", "float", "bool", "null") if isinstance(event, yaml.ScalarEvent) else plain
    if event.tag is not None and event.tag != "!" and event.tag not in {_TAG + name for name in plain}:
        raise InvalidArgument(
            f"{where} is not valid YAML of plain values: the type '{event.tag[:80]}' is not read{_line(event)}"
        )


def _put(into: _Open, value: Any, event: Any, where: str) -> None:
    """Add a value to the collection around it: in a mapping, first a key and then what belongs to it."""
    if isinstance(into.value, list):
        into.value.append(value)
        return
    if into.key:
        into.value[into.key.pop()] = value
        return
    if isinstance(value, dict | list):
        raise InvalidArgument(f"{where}: a key must be text or a number{_line(event)}")
    if value == "<<" and event.implicit[0]:
        raise InvalidArgument(f"{where}: merge keys are not read; write the values out{_line(event)}")
    if value in into.value:
        raise InvalidArgument(f"{where}: the key '{str(value)[:80]}' stands twice{_line(event)}")
    into.key.append(value)


def _scalar(event: Any, where: str) -> Any:
    """Text, or what plain text means by YAML 1.1, as PyYAML reads it: but no dates, and no numbers to the base 60."""
    text: str = event.value
    tag = (event.tag or "").removeprefix(_TAG)
    if tag in ("str", "!") or (not tag and not event.implicit[0]):
        return text
    found = _meaning(text, f"{where}: a number of {len(text)} characters{_line(event)}")
    if tag and tag != _KINDS[type(found)]:
        raise InvalidArgument(f"{where}: '{text[:80]}' is no {tag}{_line(event)}")
    return found


def _meaning(text: str, too_long: str) -> Any:
    lower = text.lower()
    if lower in _WORDS and text in (lower, text.upper(), text.capitalize()):
        return _WORDS[lower]
    if lower in _ODD:
        return _ODD[lower]
    whole = _INT.fullmatch(text)
    if not whole and not _FLOAT.fullmatch(text):
        return text
    if len(text) > LONGEST_NUMBER:
        raise InvalidArgument(too_long)
    try:
        return _int(lower.replace("_", "")) if whole else float(text.replace("_", ""))
    except ValueError:
        return text


def _int(text: str) -> int:
    digits = text.lstrip("+-")
    base = 0 if digits.startswith(("0b", "0x")) else 8 if digits.startswith("0") else 10
    return int(digits, base) * (-1 if text.startswith("-") else 1)


def _line(event: Any) -> str:
    return f" (line {event.start_mark.line + 1})"


def printable(text: str, instead: str = " ") -> str:
    """A text of somebody else without what would move the cursor of a terminal, break a line or end a header."""
    return "".join(letter if letter.isprintable() else instead for letter in text)
