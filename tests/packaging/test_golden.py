import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays

from argosy.engines.base import Engine
from argosy.packaging.golden import choose, compare, make, make_accepted, replay
from argosy.spec.errors import BadPackage, GoldenMismatch, InvalidArgument
from argosy.spec.package import Tolerance
from argosy.spec.signature import Signature, TensorSpec, check_inputs
from argosy.spec.tensor import DATATYPES, NUMPY, Tensor

EXACT = Tolerance(atol=0, rtol=0)
FLOATS = arrays(np.float64, array_shapes(max_dims=3, max_side=4), elements=st.floats(width=64))


class Fake(Engine):
    """An engine that answers what it is told."""

    def __init__(self, signature, answer):
        self.signature = signature
        self._answer = answer

    def predict(self, inputs):
        return self._answer(inputs)


@given(FLOATS)
def test_everything_agrees_with_itself(array):
    assert compare([Tensor("y", "FP64", array)], [array.copy()], EXACT) == 0


@given(FLOATS, st.data())
def test_one_changed_value_is_found(array, data):
    place = data.draw(st.integers(0, array.size - 1))
    other = array.copy()
    other.flat[place] = 0.0 if np.isnan(array.flat[place]) else np.nan
    with pytest.raises(GoldenMismatch, match=f"1 of {array.size} values differ"):
        compare([Tensor("y", "FP64", array)], [other], Tolerance())


@given(st.floats(-1e6, 1e6), st.floats(-2, 2))
def test_the_tolerance_is_the_documented_one(want, step):
    tolerance = Tolerance(atol=1e-3, rtol=1e-2)
    got = want + step * (tolerance.atol + tolerance.rtol * abs(want))
    tensors = [Tensor("y", "FP64", np.array([want]))]
    if abs(got - want) <= tolerance.atol + tolerance.rtol * abs(want):
        compare(tensors, [np.array([got])], tolerance)
    else:
        with pytest.raises(GoldenMismatch):
            compare(tensors, [np.array([got])], tolerance)


def test_the_message_names_output_row_values_and_difference():
    want = Tensor("score", "FP32", np.zeros((3, 2), "f4"))
    got = want.array.copy()
    got[1, 1] = 0.5
    with pytest.raises(
        GoldenMismatch, match=r"'score', row 1, element \[1\]: want 0.0, got 0.5, difference 0.5"
    ) as caught:
        compare([want], [got], Tolerance())
    assert "1 of 6 values differ" in caught.value.message


def test_labels_and_shapes_are_exact():
    label = Tensor("label", "BYTES", np.array([b"a", b"b"], dtype=object))
    with pytest.raises(GoldenMismatch, match=r"'label', row 1: want b'b', got b'c'"):
        compare([label], [np.array([b"a", b"c"], dtype=object)], Tolerance())
    with pytest.raises(GoldenMismatch, match=r"shape \[1\] where \[2\]"):
        compare([label], [np.array([b"a"], dtype=object)], Tolerance())
    with pytest.raises(GoldenMismatch, match="1 outputs; 2 were recorded"):
        compare([label, label], [label.array], Tolerance())


def test_infinities_of_the_same_sign_agree_and_bf16_is_compared_as_numbers():
    infinite = Tensor("y", "FP64", np.array([np.inf, -np.inf]))
    assert compare([infinite], [infinite.array], EXACT) == 0
    with pytest.raises(GoldenMismatch):
        compare([infinite], [-infinite.array], Tolerance())
    one, near = np.array([0x3F80], "<u2"), np.array([0x3F81], "<u2")
    assert compare([Tensor("y", "BF16", one)], [near], Tolerance(rtol=0.01)) == pytest.approx(1 / 128)


def test_chosen_rows_hold_gaps_and_extremes_and_are_always_the_same():
    x = np.random.default_rng(0).normal(size=(1000, 3))
    x[500, 1], x[600, 0], x[700, 2] = np.nan, 99, -99
    rows = choose([Tensor("x", "FP64", x)])
    assert rows == choose([Tensor("x", "FP64", x)])
    assert {0, 500, 600, 700, 999} <= set(rows)
    assert len(rows) == 16
    assert choose([Tensor("x", "FP64", x[:5])]) == [0, 1, 2, 3, 4]


@given(st.sampled_from(DATATYPES), st.lists(st.integers(-1, 3), max_size=3))
def test_made_rows_fit_their_signature_and_are_always_the_same(datatype, axes):
    spec = TensorSpec(name="x", datatype=datatype, shape=(-1, *axes))
    one, two = make([spec]), make([spec])
    check_inputs(Signature(inputs=(spec,), outputs=()), one)
    assert one[0].array.dtype == NUMPY[datatype]
    assert (one[0].array == two[0].array).all()


def test_free_axes_are_tried_until_the_model_accepts():
    spec = TensorSpec(name="x", datatype="FP32", shape=(-1, -1))

    def run(inputs):
        if inputs["x"].shape[1] < 32:
            raise InvalidArgument("too short")

    assert make_accepted([spec], True, run)[0].shape == (16, 32)

    def never(inputs):
        raise InvalidArgument("no")

    with pytest.raises(InvalidArgument, match=r"refuses made-up rows \(no\).*--sample"):
        make_accepted([spec], True, never)


def test_a_gigantic_row_needs_a_sample():
    with pytest.raises(InvalidArgument, match="give a sample"):
        make([TensorSpec(name="x", datatype="FP32", shape=(-1, 1 << 30))])


def test_replay_asks_for_the_first_row_alone_too():
    spec = TensorSpec(name="x", datatype="FP64", shape=(-1,))
    signature = Signature(inputs=(spec,), outputs=(TensorSpec(name="y", datatype="FP64", shape=(-1,)),))
    inputs, outputs = [Tensor("x", "FP64", np.arange(3.0))], [Tensor("y", "FP64", np.arange(3.0) - 1)]
    with pytest.raises(GoldenMismatch, match="first row alone"):
        replay(Fake(signature, lambda feeds: [feeds["x"] - feeds["x"].mean()]), inputs, outputs, Tolerance())

    def fails(feeds):
        raise InvalidArgument("broken")

    with pytest.raises(BadPackage, match="does not answer its golden examples: broken"):
        replay(Fake(signature, fails), inputs, outputs, Tolerance())
