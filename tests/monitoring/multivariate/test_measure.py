"""From two tables of the log to comparisons of their rows."""

import math
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from argosy.monitoring.eprocess import calibrated
from argosy.monitoring.multivariate.measure import measure
from argosy.monitoring.multivariate.table import MOST_VALUES, codes, sides
from argosy.spec.payload import PayloadLog
from argosy.spec.signature import Signature, TensorSpec
from argosy.store.payloads.columns import Column, columns
from tests.monitoring.multivariate.worlds import butterfly, digits, moved, softmax, turned

TABLE = Signature(
    inputs=(
        TensorSpec(name="x", datatype="FP32", shape=(-1, 3), columns=("a", "b", "c")),
        TensorSpec(name="country", datatype="BYTES", shape=(-1,)),
        TensorSpec(name="id", datatype="BYTES", shape=(-1,)),
        TensorSpec(name="member", datatype="BOOL", shape=(-1,)),
    ),
    outputs=(TensorSpec(name="label", datatype="BYTES", shape=(-1,)),),
)
IMAGE = Signature(
    inputs=(TensorSpec(name="image", datatype="FP32", shape=(-1, 128)),),
    outputs=(
        TensorSpec(name="digit", datatype="BYTES", shape=(-1,)),
        TensorSpec(name="probability", datatype="FP32", shape=(-1, 10)),
    ),
)


def table(rng: np.random.Generator, n: int, turn: bool = False, tag: str = "") -> Any:
    x = butterfly(rng, n)
    x = turned(x) if turn else x
    return pa.table(
        {
            **{f"input.{name}": pa.array(x[:, place].astype("f4")) for place, name in enumerate("abc")},
            "input.country": pa.array(rng.choice(["NO", "SE", None], n).tolist(), pa.string()),
            "input.id": pa.array([f"{tag}{place}" for place in range(n)]),
            "input.member": pa.array(rng.random(n) > 0.5),
            "output.label": pa.array(rng.choice(["yes", "no"], n).tolist()),
        }
    )


def images(values: np.ndarray) -> Any:
    scores = softmax(values)
    wide = np.concatenate([values, values], axis=1).astype("f4")
    return pa.table(
        {
            "input.image": pa.array(list(wide), pa.list_(pa.float32())),
            "output.digit": pa.array([str(digit) for digit in scores.argmax(axis=1)]),
            "output.probability": pa.array(list(scores.astype("f4")), pa.list_(pa.float32())),
        }
    )


def test_broken_relations_between_columns_are_found_and_named():
    rng = np.random.default_rng(0)
    pair = sides(columns(TABLE), table(rng, 1000, tag="r"), table(rng, 600, turn=True, tag="w"))
    assert pair.table is not None
    assert pair.table.names == ("input.a", "input.b", "input.c", "input.country", "input.member")
    assert pair.table.categorical == (3,)
    domain, parts = measure(pair)
    assert (domain.method, parts.method) == ("domain classifier", "principal components")
    assert domain.effect > 0.8
    assert domain.low is not None
    assert domain.low < domain.effect < (domain.high or 0)
    assert domain.material
    assert {cause.name for cause in domain.causes[:2]} == {"input.a", "input.b"}
    assert domain.p < 1e-6


def test_rows_that_are_alike_are_told_so():
    found: list[float] = []
    for seed in range(20):
        rng = np.random.default_rng(seed)
        compared = measure(sides(columns(TABLE), table(rng, 400, tag="r"), table(rng, 200, tag="w")), seed)
        assert not any(each.material for each in compared if each.p > 0.05)
        found += [each.p for each in compared]
    assert np.mean(np.array(found) < 0.05) <= 0.15
    assert np.mean([math.exp(calibrated(p)) for p in found]) < 1.5


def test_images_are_compared_by_a_kernel_and_by_what_the_model_answers():
    values, *_ = digits()
    half = len(values) // 2
    alike = {each.method: each for each in measure(sides(columns(IMAGE), images(values[:half]), images(values[half:])))}
    shifted = measure(sides(columns(IMAGE), images(values[:half]), images(moved(values[half:]))))
    assert {each.method for each in shifted} == {
        "maximum mean discrepancy of input.image",
        "model decisions of output.digit",
        "model outputs",
    }
    for each in shifted:
        assert each.p < 0.01 < alike[each.method].p
        assert each.material
    decided = next(each for each in shifted if "decisions" in each.method)
    assert decided.causes[0].name in {str(digit) for digit in range(10)}


def test_the_order_of_sides_does_not_tell_in_codes():
    many = [f"v{place % 200}" for place in range(1000)]
    pair, back = codes("c", many, many[::-1]), codes("c", many[::-1], many)
    assert pair is not None
    assert back is not None
    assert (pair.reference == back.current).all()
    assert pair.reference.max() == MOST_VALUES
    assert pair.values[-1] == "150 others"
    assert codes("c", [str(place) for place in range(100)], ["x", "y"]) is None
    assert codes("c", [None], [None]) is None


@pytest.mark.parametrize("hidden", [PayloadLog(redact=("a",)), PayloadLog(hash=("a",))])
def test_hidden_columns_are_not_compared(hidden: PayloadLog):
    rng = np.random.default_rng(0)
    found: tuple[Column, ...] = columns(TABLE, hidden)
    pair = sides(found, table(rng, 100), table(rng, 100))
    assert pair.table is not None
    assert "input.a" not in pair.table.names


def test_columns_without_values_and_too_few_rows_are_left_out():
    rng = np.random.default_rng(0)
    gone = table(rng, 200).set_column(0, "input.a", pa.array([math.nan] * 200, pa.float32()))
    pair = sides(columns(TABLE), table(rng, 200), gone.drop_columns(["input.b"]))
    assert pair.table is not None
    assert pair.table.names[0] == "input.c"
    assert measure(sides(columns(TABLE), table(rng, 200), table(rng, 49))) == []
    nothing = sides(columns(TABLE), table(rng, 200).select([]), table(rng, 200))
    assert measure(nothing) == []
