"""What is counted of a model: its columns and the cells of each, both taken from the package's reference profile."""

from collections import Counter
from collections.abc import Sequence
from typing import Any, Literal

import msgspec
import numpy as np

from argosy.packaging.profile import Feature
from argosy.packaging.profile import Profile as Reference
from argosy.profiles.cells import Cells, Column, Ints
from argosy.spec.errors import InvalidArgument
from argosy.spec.signature import Signature, TensorSpec


class Layout(Cells):
    """The cells of a model, with its columns by name."""

    def __init__(self, columns: Sequence[Column]) -> None:
        super().__init__(columns)
        self._index = {column.name: place for place, column in enumerate(self.columns)}

    def index(self, name: str) -> int:
        """Where a column of this name is. Raises InvalidArgument with the known names."""
        if name not in self._index:
            some = ", ".join(list(self._index)[:20])
            raise InvalidArgument(f"no column '{name}' is profiled; the model has {some}")
        return self._index[name]


def layout(reference: Reference, signature: Signature) -> Layout:
    """The layout of a package. Raises InvalidArgument where the profile has a tensor the signature lacks."""
    columns = [
        *_side("input", reference.inputs, signature.inputs),
        *_side("output", reference.outputs, signature.outputs),
    ]
    counts = Counter(column.name for column in columns)
    return Layout(
        [
            column if counts[column.name] == 1 else msgspec.structs.replace(column, name=f"{column.side}.{column.name}")
            for column in columns
        ]
    )


def _side(side: Literal["input", "output"], features: Sequence[Feature], specs: Sequence[TensorSpec]) -> list[Column]:
    by_name = {spec.name: spec for spec in specs}
    if missing := [feature.tensor for feature in features if feature.tensor not in by_name]:
        raise InvalidArgument(f"the reference profile has the {side} '{missing[0]}', which the signature lacks")
    width = Counter(feature.tensor for feature in features)
    return [_column(side, feature, by_name[feature.tensor], width[feature.tensor] == 1) for feature in features]


def _column(side: Literal["input", "output"], feature: Feature, spec: TensorSpec, alone: bool) -> Column:
    place = None
    if feature.column:
        place = spec.columns.index(feature.column) if spec.columns else int(feature.column)
    name = feature.column if spec.columns else feature.tensor if alone else f"{feature.tensor}[{feature.column}]"
    base: dict[str, Any] = {"side": side, "tensor": spec.name, "column": feature.column, "name": name, "place": place}
    base["datatype"] = spec.datatype
    if feature.numbers is not None:
        found = feature.numbers
        detailed = bool(found.edges) or found.min is None
        return Column(**base, kind="numbers", edges=found.edges, detailed=detailed)
    found = feature.categories
    if found is None:
        raise InvalidArgument(f"the reference profile's column '{name}' has neither numbers nor categories")
    known = tuple(found.categories)
    return Column(
        **base, kind="categories", known=known, complete=not found.other, detailed=bool(known) or not found.distinct
    )


def reference_counts(where: Layout, reference: Reference) -> Ints:
    """The reference's own counts in the cells of its layout, flat. A tensor taken as a whole counts one value a row."""
    features = {("input", one.tensor, one.column): one for one in reference.inputs}
    features |= {("output", one.tensor, one.column): one for one in reference.outputs}
    out = np.zeros(where.cells, np.int64)
    for place, column in enumerate(where.columns):
        counts = np.array(_counts(column, features[column.side, column.tensor, column.column]), np.int64)
        if column.place is None and counts.sum() > reference.rows:
            counts = np.rint(counts * (reference.rows / int(counts.sum()))).astype(np.int64)
        out[where.slice(place)] = counts
    return out


def _counts(column: Column, feature: Feature) -> list[int]:
    if (one := feature.numbers) is not None:
        inner = list(one.counts) if one.counts else [one.count - one.missing - one.infinite]
        return [*inner, 0, 0, one.infinite, one.missing]
    if (values := feature.categories) is not None:
        return [*values.categories.values(), values.other, values.missing]
    return [0] * column.cells
