"""What texts of language models lose before they are kept: fields that are named, e-mail addresses, card numbers, keys.
Pure."""

import re
from collections.abc import Callable, Collection, Sequence
from typing import Any, cast

GONE = "[redacted]"
"""What stands where a named field was."""
_KEYS = (
    r"-----BEGIN [A-Z0-9 ]{1,40}-----.*?(?:-----END [A-Z0-9 ]{1,40}-----|\Z)",
    r"\beyJ[\w-]{10,}\.eyJ[\w-]{10,}(?:\.[\w-]+)?",
    r"\b(?:sk|pk|rk)[-_][A-Za-z0-9_-]{16,}",
    r"\b(?:AKIA|ASIA)[0-9A-Z]{16}\b",
    r"\bgh[pousr]_[A-Za-z0-9]{20,}|\bgithub_pat_\w{20,}|\bglpat-[\w-]{20,}",
    r"\bxox[abeoprs]-[A-Za-z0-9-]{10,}|\bAIza[\w-]{30,}|\bhf_[A-Za-z0-9]{20,}",
    r"\bak_[0-9a-f]{12}_[0-9a-f]{32,}",  # ours
)
_KEY = re.compile("|".join(f"(?:{each})" for each in _KEYS), re.DOTALL)
_BEARER = re.compile(r"(?<=bearer )(?=\S*\d)[\w.~+/-]{16,}=*", re.IGNORECASE | re.ASCII)
_EMAIL = re.compile(r"[\w.%+'-]{1,64}@(?:[\w-]{1,63}\.){1,8}[^\W\d_]{2,24}")
_DIGITS = re.compile(r"\d(?:[ -]?\d){12,}")
UNSURE = 256
_UNSURE = re.compile(r"[\d -]*\S*\Z")


def luhn(digits: str) -> bool:
    """Whether the last digit checks the others, as in card numbers."""
    total = 0
    for place, digit in enumerate(reversed(digits)):
        value = int(digit) * (1 + place % 2)
        total += value - 9 * (value > 9)
    return total % 10 == 0


def _cards(match: re.Match[str]) -> str:
    """A card's number is 13 to 19 digits, alone or in groups, and begins and ends where a group does."""
    parts, out, at = re.split("([ -])", match[0]), list[str](), 0
    while at < len(parts):
        digits, end = "", 0
        for last in range(at, len(parts), 2):
            digits += parts[last]
            if len(digits) > 19:
                break
            if len(digits) >= 13 and digits[0] in "23456" and luhn(digits):
                end = last + 1
        out += ["[card]" if end else parts[at], *parts[(end or at + 1) : (end or at + 1) + 1]]
        at = (end or at + 1) + 1
    return "".join(out)


PATTERNS: dict[str, Callable[[str], str]] = {
    "key": lambda text: _BEARER.sub("[key]", _KEY.sub("[key]", text)),
    "email": lambda text: _EMAIL.sub("[email]", text),
    "card": lambda text: _DIGITS.sub(_cards, text),
}
"""By name, in their order."""


def patterns(text: str, wanted: Collection[str]) -> str:
    """A text without what these patterns find."""
    for name, found in PATTERNS.items():
        if name in wanted:
            text = found(text)
    return text


def sure(text: str) -> str:
    """A text that was cut without its last word and number: half of one is no pattern."""
    return text[:-UNSURE] + _UNSURE.sub("", text[-UNSURE:])


def every_text(value: Any, change: Callable[[str], str]) -> Any:
    """JSON data with each of its texts changed; names of fields as well."""
    if isinstance(value, str):
        return change(value)
    if isinstance(value, list):
        items = cast("list[Any]", value)
        return [every_text(each, change) for each in items]
    if isinstance(value, dict):
        return {change(name): every_text(each, change) for name, each in cast("dict[str, Any]", value).items()}
    return value


_PATH = re.compile(r"\$(?:\.[\w-]+|\[(?:\*|\d+)\])+", re.ASCII)
_STEP = re.compile(r"\.([\w-]+)|\[(\*|\d+)\]", re.ASCII)


def steps(path: str) -> tuple[str, ...] | None:
    """`$.messages[*].name` as its steps; None for what is no such path."""
    if not _PATH.fullmatch(path):
        return None
    return tuple(name or f"[{place}]" for name, place in _STEP.findall(path))


def without(value: Any, path: Sequence[str]) -> Any:
    """JSON data with `[redacted]` where a path leads."""
    if not path:
        return GONE
    step, rest = path[0], path[1:]
    if isinstance(value, dict):
        fields = cast("dict[str, Any]", value)
        return {name: without(each, rest) if name == step else each for name, each in fields.items()}
    if not isinstance(value, list):
        return value
    items = enumerate(cast("list[Any]", value))
    return [without(each, rest) if step in ("[*]", f"[{at}]") else each for at, each in items]


_TOKEN = re.compile(r'"[^"\\]*(?:\\(?:u[0-9a-fA-F]{4}|[^u])[^"\\]*)*(")?|[\[\]{},:]|[^\s\[\]{},:"]+')


def completed(text: str) -> str:
    """JSON that was cut as JSON that can be read: what is open is closed, and a broken part at the end is left out."""
    opened, name, end = list[str](), False, 0
    for token in _TOKEN.finditer(text):
        match token[0][0]:
            case "[" | "{" as mark:
                opened.append("]" if mark == "[" else "}")
                name, end = mark == "{", token.end()
                continue
            case "]" | "}":
                del opened[-1:]
            case ":" | "," as mark:
                name = mark == "," and opened[-1:] == ["}"]
                continue
            case '"' if name:
                continue
            case '"' if token[1] is None:
                return f'{text[: token.end()]}"{"".join(reversed(opened))}'
            case '"':
                pass
            case _ if token.end() == len(text):
                break
            case _:
                pass
        name, end = False, token.end()
    return text[:end] + "".join(reversed(opened)) if end else "null"
