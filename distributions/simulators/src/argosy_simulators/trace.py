"""Traces of requests: when each came and how long it holds a slot.

Read are the CSV files of the Azure LLM inference traces of 2023 and 2024 (TIMESTAMP, ContextTokens, GeneratedTokens),
of the Azure Functions trace of 2021 (app, func, end_timestamp, duration), and plain `arrival,service` in seconds.
"""

import csv
import math
from collections.abc import Callable, Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from argosy.spec.errors import InvalidArgument, NotFound

Floats = np.ndarray[Any, np.dtype[np.float64]]

MOST_ROWS = 20_000_000


class TokenTimes(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Seconds a language-model request holds its slot: `fixed` + `per_input` · tokens read + `per_output` · written."""

    fixed: float = 0.1
    per_input: float = 0.0003
    per_output: float = 0.030

    def __post_init__(self) -> None:
        if not all(math.isfinite(part) and part >= 0 for part in (self.fixed, self.per_input, self.per_output)):
            raise InvalidArgument("token times must be 0 or more seconds")


class Trace(msgspec.Struct, frozen=True, eq=False):
    """`arrivals`: seconds since the first request, ascending; `services`: seconds in a slot. Of one length, not 0."""

    name: str
    arrivals: Floats
    services: Floats

    @property
    def end(self) -> float:
        """The time of the last arrival."""
        return float(self.arrivals[-1])


Row = tuple[float, float]
Reader = Callable[[list[str], TokenTimes], Row]


def _azure_llm(row: list[str], times: TokenTimes) -> Row:
    tokens_in, tokens_out = int(row[1]), int(row[2])
    if tokens_in < 0 or tokens_out < 0:
        raise ValueError("negative token count")
    return moment(row[0]), times.fixed + times.per_input * tokens_in + times.per_output * tokens_out


def _azure_functions(row: list[str], _: TokenTimes) -> Row:
    duration = float(row[3])
    return float(row[2]) - duration, duration


def _plain(row: list[str], _: TokenTimes) -> Row:
    return float(row[0]), float(row[1])


FORMATS: dict[tuple[str, ...], Reader] = {
    ("timestamp", "contexttokens", "generatedtokens"): _azure_llm,
    ("app", "func", "end_timestamp", "duration"): _azure_functions,
    ("arrival", "service"): _plain,
}


def moment(text: str) -> float:
    """Seconds since 1970 of an ISO timestamp, whose fraction may have more digits than Python reads."""
    head, _, fraction = text.strip().partition(".")
    digits = len(fraction) - len(fraction.lstrip("0123456789"))
    zone = fraction[digits:] if fraction else ""
    seconds = datetime.fromisoformat(head + (zone or ("" if "+" in head or head.endswith("Z") else "+00:00")))
    return seconds.timestamp() + (float(f"0.{fraction[:digits]}") if digits else 0.0)


def read(path: Path, times: TokenTimes | None = None) -> Trace:
    """A trace from a CSV file, in order of arrival. Raises NotFound, InvalidArgument (with the line)."""
    if not path.is_file():
        raise NotFound(f"there is no trace file {path}")
    with path.open(newline="", encoding="utf-8", errors="replace") as file:
        rows = list(_rows(csv.reader(file), path, times or TokenTimes()))
    if not rows:
        raise InvalidArgument(f"{path} holds no requests")
    return make(path.stem, *np.array(rows, dtype=np.float64).T)


def _rows(lines: Iterator[list[str]], path: Path, times: TokenTimes) -> Iterator[Row]:
    try:
        header = tuple(name.strip().lstrip("\ufeff").lower() for name in next(lines, list[str]()))
        reader = FORMATS.get(header)
        if reader is None:
            known = "; ".join(",".join(columns) for columns in FORMATS)
            raise InvalidArgument(
                f"{path} starts with '{','.join(header)[:100]}', which is no trace of requests; known are {known}"
            )
        for number, line in enumerate(lines, start=2):
            if number > MOST_ROWS:
                raise InvalidArgument(f"{path} has more than {MOST_ROWS} requests; cut it")
            if line:
                yield _row(reader, line, times, f"{path}, line {number}")
    except csv.Error as error:
        raise InvalidArgument(f"{path} is not CSV: {error}") from None


def _row(reader: Reader, line: list[str], times: TokenTimes, where: str) -> Row:
    try:
        at, service = reader(line, times)
    except (ValueError, IndexError, OverflowError) as error:
        raise InvalidArgument(f"{where} cannot be read: {error}") from None
    if not (math.isfinite(at) and math.isfinite(service) and service >= 0):
        raise InvalidArgument(f"{where}: times must be finite and services not negative")
    return at, service


def make(name: str, arrivals: Floats, services: Floats) -> Trace:
    """A trace from two arrays of seconds, sorted by arrival and counted from the first."""
    order = np.argsort(arrivals, kind="stable")
    return Trace(name, arrivals[order] - arrivals[order[0]], services[order])
