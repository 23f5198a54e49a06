import contextlib
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from argosy.spec.tensor import NUMPY
from argosy_conformance.check import Failed
from argosy_conformance.tensors import CODES, DATATYPES, EXTREMES, flatten, made, nest, pack, split_bytes, tensor

SHAPES = st.lists(st.integers(1, 4), min_size=1, max_size=4)


@pytest.mark.parametrize("datatype", CODES)
def test_packing_agrees_with_numpy(datatype):
    values = EXTREMES[datatype]
    assert pack(datatype, values) == np.array(values, NUMPY[datatype]).tobytes()


@pytest.mark.parametrize("datatype", DATATYPES)
def test_values_come_back(datatype):
    assert tensor("x", datatype, (len(EXTREMES[datatype]),), EXTREMES[datatype]).texts() == list(EXTREMES[datatype])


@given(st.lists(st.binary()))
def test_bytes_elements_come_back(elements):
    assert split_bytes(pack("BYTES", elements)) == elements


@given(st.binary(max_size=40))
def test_any_bytes_split_or_fail(raw):
    with contextlib.suppress(Failed):
        assert pack("BYTES", split_bytes(raw)) == raw


@given(SHAPES)
def test_nested_flattens_to_flat(shape):
    flat = list(range(math.prod(shape)))
    nested = nest(flat, shape)
    assert flatten(nested) == flat
    assert np.array(nested).shape == tuple(shape)


def test_an_axis_of_zero_nests():
    assert nest([], (2, 0, 3)) == [[], []]


@pytest.mark.parametrize(
    ("datatype", "value"),
    [
        ("UINT8", 256),
        ("INT8", -129),
        ("INT64", 1.0),
        ("INT32", True),
        ("BOOL", 1),
        ("FP32", "1"),
        ("BYTES", 7),
        ("X", 1),
    ],
)
def test_what_does_not_fit_fails(datatype, value):
    with pytest.raises(Failed):
        pack(datatype, [value])


@pytest.mark.parametrize("datatype", DATATYPES)
def test_rows_differ_by_seed(datatype):
    assert made("x", datatype, (3, 2), seed=1).raw != made("x", datatype, (3, 2), seed=2).raw
    assert made("x", datatype, (3, 2), seed=1) == made("x", datatype, (3, 2), seed=1)
