"""The reference profile: a model's sample and its predictions in numbers that drift is measured against.

Canonical JSON of bounded size. Numbers: count, missing, min, max, mean, std, quantiles, and a histogram whose edges are
quantiles, so that later rows can be counted into it one by one. Strings and labels: the most frequent and the rest.
"""

from collections.abc import Iterator, Sequence
from typing import Any

import msgspec
import numpy as np

from argosy.spec.signature import Signature, TensorSpec
from argosy.spec.tensor import Array, Tensor, bf16_to_fp32

MAX_DETAILED = 256
MAX_CATEGORIES = 50
MAX_TEXT = 100
BINS = 20
QUANTILES = (0.01, 0.05, 0.1, 0.25, 0.5, 0.75, 0.9, 0.95, 0.99)


class Numbers(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """A numeric feature. `counts[i]` values lie in [edges[i], edges[i+1]), the last bin including its end; the last two
    edges may be the same, where that bin holds one value.

    `count` is of all values, `missing` of NaN, `infinite` of ±inf; the rest describe the finite ones.
    """

    count: int
    missing: int
    infinite: int = 0
    min: float | None = None
    max: float | None = None
    mean: float | None = None
    std: float | None = None
    quantiles: dict[str, float] = {}
    edges: tuple[float, ...] = ()
    counts: tuple[int, ...] = ()


class Categories(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """A categorical feature: value → how often, the most frequent first; `other` counts the values not listed."""

    count: int
    missing: int
    categories: dict[str, int] = {}
    other: int = 0
    distinct: int = 0


class Feature(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """One column of an input or output; exactly one of `numbers` and `categories` is there."""

    tensor: str
    column: str = ""
    numbers: Numbers | None = None
    categories: Categories | None = None


class Profile(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Of a sample (`inputs`) and of the model's answers to it (`outputs`). Columns past the 256th have no histogram."""

    rows: int
    inputs: tuple[Feature, ...]
    outputs: tuple[Feature, ...]


def profile(
    inputs: Sequence[Tensor], outputs: Sequence[Tensor], specs: Sequence[TensorSpec], output_specs: Sequence[TensorSpec]
) -> Profile:
    """The profile of a sample and of its predictions."""
    rows = inputs[0].array.shape[0] if inputs[0].array.ndim else 1
    return Profile(rows=rows, inputs=_side(inputs, specs), outputs=_side(outputs, output_specs))


def dump(value: Profile) -> bytes:
    """Canonical JSON: sorted keys, no spaces. The same profile gives the same bytes."""
    return msgspec.json.encode(value, order="sorted")


def renamed(value: Profile, signature: Signature) -> Profile:
    """The profile of a model whose tensors got the names of this signature."""

    def side(features: tuple[Feature, ...], specs: tuple[TensorSpec, ...]) -> tuple[Feature, ...]:
        names = {spec.source or spec.name: spec.name for spec in specs}
        return tuple(msgspec.structs.replace(feature, tensor=names[feature.tensor]) for feature in features)

    return msgspec.structs.replace(
        value, inputs=side(value.inputs, signature.inputs), outputs=side(value.outputs, signature.outputs)
    )


def _side(tensors: Sequence[Tensor], specs: Sequence[TensorSpec]) -> tuple[Feature, ...]:
    by_name = {spec.name: spec for spec in specs}
    features: list[Feature] = []
    for tensor in tensors:
        for column, values in _columns(tensor, by_name[tensor.name]):
            detailed = len(features) < MAX_DETAILED
            semantic = by_name[tensor.name].semantic
            if tensor.datatype in ("BYTES", "BOOL") or semantic in ("label", "categorical"):
                made = Feature(tensor=tensor.name, column=column, categories=categories(values, detailed))
            else:
                wide = bf16_to_fp32(values) if tensor.datatype == "BF16" else values
                made = Feature(tensor=tensor.name, column=column, numbers=numbers(wide, detailed))
            features.append(made)
            if len(features) == 2 * MAX_DETAILED:
                return tuple(features)
    return tuple(features)


def _columns(tensor: Tensor, spec: TensorSpec) -> Iterator[tuple[str, Array]]:
    """A table's columns, one by one; any other tensor as a whole."""
    if tensor.array.ndim != 2 or tensor.array.shape[1] > 16 * MAX_DETAILED:
        yield "", tensor.array.reshape(-1)
        return
    for place in range(tensor.array.shape[1]):
        yield (spec.columns[place] if spec.columns else str(place)), tensor.array[:, place]


def numbers(values: Array, detailed: bool = True) -> Numbers:
    """The profile of numbers, in float64."""
    wide = values.astype(np.float64)
    gaps = np.isnan(wide)
    finite = wide[np.isfinite(wide)]
    base: dict[str, Any] = {
        "count": int(wide.size),
        "missing": int(gaps.sum()),
        "infinite": int(wide.size - finite.size - gaps.sum()),
    }
    if not finite.size:
        return Numbers(**base)
    with np.errstate(over="ignore"):
        scale = max(float(np.abs(finite).max()), 1.0)
        mean, std = float((finite / scale).mean() * scale), float((finite / scale).std() * scale)
    found: dict[str, Any] = {"min": float(finite.min()), "max": float(finite.max()), "mean": mean}
    found["std"] = std if np.isfinite(std) else None
    if detailed:
        edges = _edges(finite)
        found["quantiles"] = {f"{q:g}": float(v) for q, v in zip(QUANTILES, _quantiles(finite, QUANTILES), strict=True)}
        found["edges"] = tuple(edges.tolist())
        found["counts"] = tuple(np.histogram(finite, edges)[0].tolist()) if len(edges) > 1 else (int(finite.size),)
    return Numbers(**base, **found)


def _quantiles(values: Array, at: Sequence[float]) -> Array:
    """Values that occur in the sample, so that no rounding of an interpolation enters."""
    return np.quantile(values, at, method="lower")


def _edges(values: Array) -> Array:
    """Distinct quantiles: bins of about equal weight. Of at most 20 distinct values (classes, counts, grades) each is
    an edge, and the largest one stands twice, so that it shares its bin with no other; so it does where it comes as
    often as a bin's weight. One edge where there is one value."""
    found, counts = np.unique(values, return_counts=True)
    edges = found if len(found) <= BINS else np.unique(_quantiles(values, np.linspace(0, 1, BINS + 1).tolist()))
    heavy = len(found) <= BINS or counts[-1] * BINS >= values.size
    return np.append(edges, edges[-1]) if heavy and len(edges) > 1 else edges


def categories(values: Array, detailed: bool = True) -> Categories:
    """The profile of strings, labels or booleans. Empty strings are missing; long ones are cut at 100 characters."""
    found: dict[str, int] = {}
    unique, counts = np.unique(values, return_counts=True)
    for value, count in zip(unique.tolist(), counts.tolist(), strict=True):
        text = value.decode(errors="replace")[:MAX_TEXT] if isinstance(value, bytes) else str(value)[:MAX_TEXT]
        found[text] = found.get(text, 0) + count
    gaps = found.pop("", 0)
    ranked = sorted(found.items(), key=lambda item: (-item[1], item[0]))
    top = dict(ranked[:MAX_CATEGORIES]) if detailed else {}
    return Categories(
        count=int(values.size),
        missing=gaps,
        categories=top,
        other=int(values.size) - gaps - sum(top.values()),
        distinct=len(found),
    )
