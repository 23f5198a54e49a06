"""Predictions as numbers: from the payload log or from a reference file, through DuckDB, within bounds, into the arrays
that estimators take."""

from collections.abc import Generator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, cast

import msgspec
import numpy as np

from argosy.monitoring.eprocess import Floats, Ints
from argosy.monitoring.feedback.event import plain
from argosy.monitoring.multivariate.table import numbers
from argosy.monitoring.performance.roles import Roles
from argosy.spec.errors import InvalidArgument
from argosy.spec.tensor import Array
from argosy.store import duck
from argosy.store.payloads import layout, segment
from argosy.store.payloads.query import source

MOST_ROWS = 100_000
MOST_CELLS = 16_000_000
MEMORY = "512MB"
LARGEST = 1e300
"""What is beyond, infinity too, counts as this much: trees cut numbers in two, however large."""

Texts = Mapping[str, Sequence[str]]
"""By column of texts, the values that have a number: their place. Any other is one more number, the next."""


class Rows(msgspec.Struct, frozen=True, eq=False, kw_only=True):
    """n predictions. `features` (n, columns) are named by `names`, NaN for missing; `scores` (n,) of the positive class
    or (n, classes); `decided` and `labels` (n,) are codes of `classes`, or numbers of a regression.

    `total` counts those that were read: the rest had no finite score or prediction, or a class that is none of
    `classes`.
    """

    names: tuple[str, ...]
    features: Floats
    decided: Array
    classes: tuple[str, ...] = ()
    scores: Floats | None = None
    labels: Array | None = None
    total: int


def wanted(roles: Roles, label: str = "") -> list[str]:
    return list(dict.fromkeys(filter(None, (*roles.features, roles.decision, roles.score, label))))


def texts_of(table: Any, roles: Roles) -> dict[str, list[str]]:
    """The values of the columns of texts in a reference, sorted."""
    return {
        name: sorted(set(table.column(name).to_pylist()) - {None}) for name in roles.features if _is_text(table, name)
    }


def rows(table: Any, roles: Roles, texts: Texts, label: str = "") -> Rows:
    """An Arrow table as numbers. `label` names the column of what was true, if there is one."""
    features, names = _features(table, roles, texts)
    classes: tuple[str, ...] = ()
    scores, labels = None, None
    if roles.kind == "regression":
        decided = numbers(table.column(roles.decision))[:, 0]
        labels = _labels_as_numbers(table, label) if label else None
        good = np.isfinite(decided if labels is None else decided + labels)
    else:
        scores = numbers(table.column(roles.score)) if roles.score else None
        texts_decided = _decisions(table, roles, scores)
        texts_true = [_plain(value) for value in table.column(label).to_pylist()] if label else None
        classes = roles.classes or tuple(sorted({each for each in (*texts_decided, *(texts_true or ())) if each}))
        decided, labels = _codes(texts_decided, classes), None if texts_true is None else _codes(texts_true, classes)
        good = (decided >= 0) & (labels >= 0 if labels is not None else True)
        if scores is not None:
            good &= np.isfinite(scores.sum(axis=1))
            if scores.shape[1] == 1:
                scores = scores[:, 0]
            elif len(classes) == 2:
                scores = scores[:, classes.index(roles.positive)]
    return Rows(
        names=names,
        features=features[good],
        decided=decided[good],
        classes=classes,
        scores=None if scores is None else scores[good],
        labels=None if labels is None else labels[good],
        total=len(good),
    )


def _decisions(table: Any, roles: Roles, scores: Floats | None) -> list[str]:
    """Empty where there is none."""
    if roles.decision:
        return [_plain(value) for value in table.column(roles.decision).to_pylist()]
    assert scores is not None
    if scores.shape[1] == 1:
        other = next((each for each in roles.classes if each != roles.positive), "")
        first = scores[:, 0].tolist()
        return [roles.positive if at >= roles.threshold else other if np.isfinite(at) else "" for at in first]
    gaps = np.isnan(scores.sum(axis=1))
    best = np.where(gaps, 0, np.nan_to_num(scores).argmax(axis=1))
    return ["" if gap else roles.classes[at] for at, gap in zip(best.tolist(), gaps.tolist(), strict=True)]


def _plain(value: Any) -> str:
    """A value, or that of a list of one, as labels are written."""
    if isinstance(value, list):
        (value,) = cast("list[Any]", value)
    return "" if value is None or value != value else plain(value)


def _codes(texts: Sequence[str], classes: Sequence[str]) -> Ints:
    places = {text: place for place, text in enumerate(classes)}
    return np.array([places.get(text, -1) for text in texts], np.int64)


def _labels_as_numbers(table: Any, label: str) -> Floats:
    found = np.full(table.num_rows, np.nan)
    for place, value in enumerate(table.column(label).to_pylist()):
        try:
            found[place] = np.nan if value is None else float(value)
        except ValueError:
            continue
    return found


def _is_text(table: Any, name: str) -> bool:
    return str(table.schema.field(name).type) in ("string", "large_string", "string_view")


def _features(table: Any, roles: Roles, texts: Texts) -> tuple[Floats, tuple[str, ...]]:
    parts: list[Floats] = [np.zeros((table.num_rows, 0))]
    names: list[str] = []
    for name in roles.features:
        column = table.column(name)
        values = _places(column, texts.get(name, ())) if _is_text(table, name) else numbers(column)
        parts.append(np.clip(values, -LARGEST, LARGEST))
        names += [name] if values.shape[1] == 1 else [f"{name}[{place}]" for place in range(values.shape[1])]
    return np.concatenate(parts, axis=1), tuple(names)


def _places(column: Any, known: Sequence[str]) -> Floats:
    """Texts as their places (n, 1)."""
    places = {text: float(place) for place, text in enumerate(known)}
    encoded = column.combine_chunks().dictionary_encode()
    values = [places.get(text, float(len(known))) for text in encoded.dictionary.to_pylist()]
    indices = encoded.indices.to_numpy(zero_copy_only=False).astype(float)
    absent = ~np.isfinite(indices)
    return np.array([*values, np.nan])[np.where(absent, len(values), indices).astype(np.int64)].reshape(-1, 1)


class Log:
    """The recorded predictions of one version by window, whose `width` is in µs."""

    def __init__(self, connection: Any, files: str, roles: Roles, width: int) -> None:
        self._connection, self._files, self._roles, self._width = connection, files, roles, width
        self._there = duck.identifier(roles.decision or roles.score)
        self._select = ", ".join(map(duck.identifier, wanted(roles)))

    def counts(self, first: int, last: int) -> dict[int, int]:
        """Predictions by the place of their window, of those from `first` on and before `last`."""
        query = (
            f"SELECT CAST(epoch_us(time) // ? AS BIGINT) AS place, count(*) FROM {self._files} "
            f"WHERE {self._there} IS NOT NULL AND epoch_us(time) >= ? AND epoch_us(time) < ? GROUP BY place"
        )
        bounds = [self._width, first * self._width, last * self._width]
        return dict(sorted(self._connection.execute(query, bounds).fetchall()))

    def window(self, place: int, count: int, texts: Texts) -> Rows:
        """The rows of a window; of more than 100,000 (or 16 million values) a share that is the same every time."""
        found = self._connection.execute(f"SELECT {self._select} FROM {self._files} LIMIT 1").fetchall()
        columns = sum(len(cast("list[Any]", value)) if isinstance(value, list) else 1 for row in found for value in row)
        most = min(MOST_ROWS, MOST_CELLS // max(columns, 1))
        query = (
            f"SELECT {self._select} FROM {self._files} WHERE {self._there} IS NOT NULL AND epoch_us(time) >= ? "
            "AND epoch_us(time) < ? AND hash(request_id, row) % ? = 0 ORDER BY time, request_id, row LIMIT ?"
        )
        bounds = [place * self._width, (place + 1) * self._width, -(-count // most) or 1, most]
        return rows(self._connection.sql(query, params=bounds).to_arrow_table(), self._roles, texts)


@contextmanager
def opened(
    root: Path, endpoint: str, version: str, roles: Roles, seconds: int, since: float, until: float
) -> Generator[Log | None]:
    """The log of a version in a stretch of time; None where there is none. Broken files are put aside.

    Raises InvalidArgument where the log lacks a column.
    """
    begin, end = (datetime.fromtimestamp(each, UTC) for each in (since, until))
    with layout.shared(root), duck.opened(memory=MEMORY, threads=1) as connection:
        found = [each.key for each in layout.segments(root, endpoint, begin, end) if each.version == version]
        try:
            if found:
                connection.sql(f"SELECT * FROM {source([root / key for key in found])} LIMIT 0").fetchall()
        except duck.module().Error:
            segment.quarantine(root, found)
            found = [key for key in found if (root / key).exists()]
        if not found:
            yield None
            return
        files = source([root / key for key in found])
        known = set(connection.sql(f"SELECT * FROM {files} LIMIT 0").columns)
        if absent := [name for name in wanted(roles) if name not in known]:
            raise InvalidArgument(f"the log of '{endpoint}' version {version} has no column '{absent[0]}'")
        yield Log(connection, files, roles, seconds * 1_000_000)


def first_moment(root: Path, endpoint: str, version: str) -> float | None:
    """The beginning of the first hour that the log of a version has, in seconds since 1970."""
    folder = root / layout.partition(endpoint, version, datetime.now(UTC))
    hours = sorted(path.relative_to(root).as_posix() for path in folder.parent.glob("hour=*"))
    found = (layout.parse(f"{hour}/x.parquet") for hour in hours)
    return next((each.hour.timestamp() for each in found if each is not None), None)
