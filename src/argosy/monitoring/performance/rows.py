"""Predictions as numbers: from the log or from a reference file, through DuckDB, into the arrays estimators take."""

from collections.abc import Mapping, Sequence
from typing import Any, cast

import msgspec
import numpy as np

from argosy.monitoring.binary import Floats
from argosy.monitoring.feedback.event import plain
from argosy.monitoring.performance.roles import Roles
from argosy.monitoring.performance.window import Codes
from argosy.spec.tensor import Array
from argosy.store import duck

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
    """The columns to read."""
    return list(dict.fromkeys(filter(None, (*roles.features, roles.decision, roles.score, label))))


def select(roles: Roles, label: str = "") -> str:
    """The list of a SELECT."""
    return ", ".join(duck.identifier(name) for name in wanted(roles, label))


def texts_of(table: Any, roles: Roles) -> dict[str, list[str]]:
    """The values of the columns of texts in a reference, sorted."""
    return {
        name: sorted(set(table.column(name).to_pylist()) - {None}) for name in roles.features if _is_text(table, name)
    }


def rows(table: Any, roles: Roles, texts: Texts, label: str = "") -> Rows:
    """An Arrow table as numbers. `label` names the column of what was true, if there is one."""
    features, names = _features(table, roles, texts)
    if roles.kind == "regression":
        decided = _numbers(table.column(roles.decision))
        decided = decided if decided.ndim == 1 else decided[:, 0]
        labels = _labels_as_numbers(table, label)
        good = np.isfinite(decided if labels is None else decided + labels)
        return _taken(good, names, features, decided, (), None, labels)
    scores = _numbers(table.column(roles.score)) if roles.score else None
    said = _decisions(table, roles, scores)
    true = [_plain(value) for value in table.column(label).to_pylist()] if label else None
    classes = roles.classes or tuple(sorted({each for each in (*said, *(true or ())) if each}))
    decided, labels = _codes(said, classes), None if true is None else _codes(true, classes)
    scores = None if scores is None else _scores(scores, roles)
    good = (decided >= 0) & (labels >= 0 if labels is not None else True)
    if scores is not None:
        good &= np.isfinite(scores if scores.ndim == 1 else scores.sum(axis=1))
    return _taken(good, names, features, decided, classes, scores, labels)


def _taken(
    good: Array,
    names: tuple[str, ...],
    features: Floats,
    decided: Array,
    classes: tuple[str, ...],
    scores: Floats | None,
    labels: Array | None,
) -> Rows:
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
    if roles.decision:
        return [_plain(value) for value in table.column(roles.decision).to_pylist()]
    assert scores is not None
    if scores.ndim == 1 or scores.shape[1] == 1:
        first = scores.reshape(len(scores))
        other = next((each for each in roles.classes if each != roles.positive), "")
        return [roles.positive if at >= roles.threshold else other if np.isfinite(at) else "" for at in first.tolist()]
    gaps = np.isnan(scores.sum(axis=1))
    best = np.where(gaps, 0, np.nan_to_num(scores).argmax(axis=1))
    return ["" if gap else roles.classes[at] for at, gap in zip(best.tolist(), gaps.tolist(), strict=True)]


def _scores(scores: Floats, roles: Roles) -> Floats:
    """(n,) of the positive class where there are two classes, else (n, classes)."""
    if scores.ndim == 1 or scores.shape[1] == 1:
        return scores.reshape(len(scores))
    if len(roles.classes) == 2:
        return scores[:, roles.classes.index(roles.positive)]
    return scores


def _plain(value: Any) -> str:
    """A value, or that of a list of one, as labels are written."""
    if isinstance(value, list):
        (value,) = cast("list[Any]", value)
    return "" if value is None or value != value else plain(value)


def _codes(texts: Sequence[str], classes: Sequence[str]) -> Codes:
    places = {text: place for place, text in enumerate(classes)}
    return np.array([places.get(text, -1) for text in texts], np.int64)


def _labels_as_numbers(table: Any, label: str) -> Floats | None:
    if not label:
        return None
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
    parts: list[Floats] = []
    names: list[str] = []
    for name in roles.features:
        column = table.column(name)
        values = _places(column, texts.get(name, ())) if _is_text(table, name) else _numbers(column)
        values = values.reshape(len(values), -1) if len(values) else np.zeros((0, 1))
        parts.append(np.clip(values, -LARGEST, LARGEST))
        names += [name] if values.shape[1] == 1 else [f"{name}[{place}]" for place in range(values.shape[1])]
    if not parts:
        return np.zeros((table.num_rows, 0)), ()
    return np.concatenate(parts, axis=1), tuple(names)


def _places(column: Any, known: Sequence[str]) -> Floats:
    places = {text: float(place) for place, text in enumerate(known)}
    encoded = column.combine_chunks().dictionary_encode()
    values = [places.get(text, float(len(known))) for text in encoded.dictionary.to_pylist()]
    indices = encoded.indices.to_numpy(zero_copy_only=False).astype(float)
    absent = ~np.isfinite(indices)
    return np.array([*values, np.nan])[np.where(absent, len(values), indices).astype(np.int64)]


def _numbers(column: Any) -> Floats:
    """Numbers (n,), or lists of one length (n, length); NaN where there are none."""
    flat = column.combine_chunks() if hasattr(column, "combine_chunks") else column
    if "list" not in str(flat.type):
        return flat.cast("double", safe=False).to_numpy(zero_copy_only=False)
    values = flat.flatten().cast("double", safe=False).to_numpy(zero_copy_only=False)
    there = flat.is_valid().to_numpy(zero_copy_only=False)
    if not there.any():
        return np.full((len(there), 1), np.nan)
    found = np.full((len(there), len(values) // int(there.sum())), np.nan)
    found[there] = values.reshape(int(there.sum()), -1)
    return found
