"""Columns of categories that XGBoost and LightGBM models were trained on: texts or numbers, and their codes.

A booster knows a category by its place in the list that pandas had for the column. Both libraries keep these lists; a
request has the categories themselves.
"""

from collections.abc import Mapping, Sequence
from typing import Any, cast

import numpy as np

from argosy.engines.base import rows_of
from argosy.engines.frames import column
from argosy.spec.errors import InvalidArgument
from argosy.spec.signature import TensorSpec
from argosy.spec.tensor import NUMPY, Array

Categories = Mapping[str, Sequence[Any]]
"""Column → its categories, in the order of their codes: all of them texts, truth values, or numbers."""


def kind_of(name: str, values: Sequence[Any]) -> str:
    """The datatype of a column of these categories. Raises InvalidArgument for a mixture."""
    if all(isinstance(value, str) for value in values):
        return "BYTES"
    if all(isinstance(value, bool) for value in values):
        return "BOOL"
    if all(isinstance(value, int | float) and not isinstance(value, bool) for value in values):
        return "FP64"
    raise InvalidArgument(f"the categories of column '{name}' are of several kinds: train it on texts")


def inputs(names: Sequence[str], categories: Categories, number: str) -> tuple[TensorSpec, ...]:
    """An input for each column: one of categories by their kind, any other of the datatype `number`. A missing value is
    NaN or, unless that is a category, the empty text."""
    found: list[TensorSpec] = []
    for name in names:
        values = categories.get(name)
        kind = number if values is None else kind_of(name, values)
        semantic = "" if values is None else "categorical"
        gaps = kind != "BOOL" and "" not in (values or ())
        found.append(TensorSpec(name=name, datatype=kind, shape=(-1,), nullable=gaps, semantic=semantic))
    return tuple(found)


class Coder:
    """Inputs by column → the one matrix of numbers that a booster takes. A category that the model was not trained on
    is missing, or refused where the model is `strict`."""

    def __init__(self, specs: Sequence[TensorSpec], categories: Categories, datatype: str, *, strict: bool) -> None:
        self._specs = specs
        self._dtype = NUMPY[datatype]
        self._strict = strict
        self._categories = categories
        self._codes = {name: _codes(values) for name, values in categories.items()}

    def matrix(self, given: Mapping[str, Array]) -> Array:
        """Rows of numbers and codes. Raises InvalidArgument naming the input, the row and the category."""
        out = np.empty((rows_of(given), len(self._specs)), self._dtype)
        for place, spec in enumerate(self._specs):
            array = column(spec, given[spec.name])
            codes = self._codes.get(spec.name)
            out[:, place] = array if codes is None else self._coded(spec, array, codes)
        return out

    def typed(self, rows: Any, given: Mapping[str, Array]) -> Any:
        """The DataFrame with its columns of categories in pandas' own type, as the model was trained on it."""
        import pandas as pd

        pandas = cast("Any", pd)
        for spec in self._specs:
            codes = self._codes.get(spec.name)
            if codes is not None:
                found = np.nan_to_num(self._coded(spec, column(spec, given[spec.name]), codes), nan=-1).astype(np.int64)
                listed = list(self._categories[spec.name])
                rows[spec.name] = pandas.Categorical.from_codes(found, categories=listed)
        return rows

    def _coded(self, spec: TensorSpec, array: Array, codes: dict[Any, int]) -> list[float]:
        values = cast("list[Any]", array.tolist())
        found = [codes.get(value, np.nan) for value in values]
        if self._strict:
            for row, (value, code) in enumerate(zip(values, found, strict=True)):
                if code != code and value == value and not (spec.nullable and value == b""):
                    shown = value.decode(errors="replace") if isinstance(value, bytes) else f"{value:g}"
                    raise InvalidArgument(
                        f"input '{spec.name}', row {row}: '{shown[:60]}' is no category the model was trained on"
                    )
        return found


def _codes(values: Sequence[Any]) -> dict[Any, int]:
    return {value.encode() if isinstance(value, str) else value: code for code, value in enumerate(values)}
