"""The input files of a job, from the paths, folders and globs that were given: always in the same order."""

import fnmatch
import os
import re
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

from argosy.batch.fragment import File, InputFormat
from argosy.batch.place import Place, place
from argosy.spec.errors import InvalidArgument, NotFound

SUFFIXES: dict[str, InputFormat] = {
    ".parquet": "parquet",
    ".pq": "parquet",
    ".arrow": "arrow",
    ".arrows": "arrow",
    ".feather": "arrow",
    ".ipc": "arrow",
    ".csv": "csv",
    ".tsv": "csv",
    ".jsonl": "jsonl",
    ".ndjson": "jsonl",
    ".npy": "npy",
    ".npz": "npy",
}
PACKED = {".gz": "gzip", ".zst": "zstd"}
"""Suffix of a compressed CSV or JSON lines file → what Arrow calls the codec."""

_GLOB = re.compile(r"[*?\[]")
_TOGETHER = 16


def find(inputs: Sequence[str]) -> list[File]:
    """The files, input by input, each input's sorted by address; one that two inputs name comes once.

    Within folders and globs, what begins with `_` or `.` is left out. Raises NotFound where an input names nothing,
    InvalidArgument for an empty file, an unknown format, and files of several formats.
    """
    found = list(dict.fromkeys(spot for text in inputs for spot in expand(text)))
    formats: dict[InputFormat, Place] = {format_of(spot): spot for spot in reversed(found)}
    if len(formats) > 1:
        examples = ", ".join(f"{spot.name} ({format})" for format, spot in sorted(formats.items()))
        raise InvalidArgument(f"the inputs are of several formats: {examples}; a job reads one, so narrow the inputs")
    format = next(iter(formats))
    with ThreadPoolExecutor(_TOGETHER) as pool:
        stamps = list(pool.map(Place.stamp, found))
    if empty := next((spot for spot, stamp in zip(found, stamps, strict=True) if not stamp.size), None):
        raise InvalidArgument(f"{empty} is empty: it has no byte, not even a header")
    return [File(spot.url, format, stamp.size, stamp.mark) for spot, stamp in zip(found, stamps, strict=True)]


def format_of(spot: Place) -> InputFormat:
    """The format by the name's ending. Raises InvalidArgument."""
    stem, suffix = os.path.splitext(spot.name.lower())
    packed = suffix in PACKED
    format = SUFFIXES.get(os.path.splitext(stem)[1] if packed else suffix)
    if format is None or (packed and format not in ("csv", "jsonl")):
        known = ", ".join(SUFFIXES)
        raise InvalidArgument(f"{spot}: rows are read from {known}, and from .csv and .jsonl with .gz or .zst")
    return format


def codec_of(url: str) -> str:
    """What Arrow calls the compression of a file; empty for none."""
    return PACKED.get(os.path.splitext(url.lower())[1], "")


def expand(text: str) -> list[Place]:
    """The files that one input names, sorted by address. Raises NotFound where there is none."""
    spot = place(text)
    if not spot.remote and os.path.isfile(spot.url):
        return [spot]
    parts = spot.url.split("/")
    first = next((number for number, part in enumerate(parts) if _GLOB.search(part)), len(parts))
    if not spot.remote and os.path.exists(spot.url):
        first = len(parts)  # a folder with such a letter in its name
    pattern = parts[first:]
    if pattern and spot.remote and first < 3:
        raise InvalidArgument(f"{spot}: the bucket's name cannot have a wildcard")
    base = Place("/".join(parts[:first]) or "/")
    found: list[Place] = []
    for one in base.walk():
        below = one.url[len(base.url.rstrip("/")) + 1 :].split("/")
        if not any(part.startswith(("_", ".")) for part in below) and (not pattern or _matches(below, pattern)):
            found.append(one)
    if not found and not pattern and spot.remote and spot.exists():
        return [spot]
    if not found:
        said = f"nothing matches {text}" if pattern else f"there is no file at {text}"
        raise NotFound(f"{said}; files that begin with _ or . are left out")
    return sorted(found)


def _matches(parts: Sequence[str], pattern: Sequence[str]) -> bool:
    """Whether a path fits: `*` stays within a folder, `**` stands for any number of them."""
    if not pattern:
        return not parts
    if pattern[0] == "**":
        return any(_matches(parts[skip:], pattern[1:]) for skip in range(len(parts) + 1))
    return bool(parts) and fnmatch.fnmatchcase(parts[0], pattern[0]) and _matches(parts[1:], pattern[1:])
