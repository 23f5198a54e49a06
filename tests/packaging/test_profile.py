import msgspec
import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from argosy.packaging.profile import MAX_CATEGORIES, MAX_DETAILED, Profile, categories, dump, numbers, profile
from argosy.spec.signature import TensorSpec
from argosy.spec.tensor import Tensor


@given(arrays(np.float64, st.integers(1, 200), elements=st.floats()))
def test_every_value_is_counted_once(values):
    found = numbers(values)
    assert found.count == values.size
    assert sum(found.counts) + found.missing + found.infinite == values.size
    inner = found.edges[:-1] if found.edges[-1:] == found.edges[-2:-1] else found.edges
    assert list(inner) == sorted(set(found.edges))
    msgspec.json.decode(msgspec.json.encode(found))


@given(st.lists(st.sampled_from([b"", b"a", b"b", b"\xff", b"x" * 300]), min_size=1))
def test_every_string_is_counted_once(values):
    array = np.array(values, dtype=object)
    found = categories(array)
    assert found.missing + sum(found.categories.values()) + found.other == len(values)
    assert all(len(text) <= 100 for text in found.categories)


def test_numbers_of_a_known_column():
    found = numbers(np.array([1.0, 2, 3, 4, np.nan, np.inf]))
    assert (found.missing, found.infinite, found.min, found.max, found.mean) == (1, 1, 1, 4, 2.5)
    assert numbers(np.full(3, np.nan)).mean is None


def test_many_categories_and_many_columns_stay_bounded():
    words = np.array([f"w{i}".encode() for i in range(1000)], dtype=object)
    found = categories(words)
    assert (len(found.categories), found.other, found.distinct) == (MAX_CATEGORIES, 1000 - MAX_CATEGORIES, 1000)
    wide = Tensor("x", "FP32", np.zeros((4, 3000), "f4"))
    spec = TensorSpec(name="x", datatype="FP32", shape=(-1, 3000))
    whole = profile([wide], [], [spec], [])
    assert sum(bool(feature.numbers.edges) for feature in whole.inputs) == MAX_DETAILED
    assert len(dump(whole)) < 200_000


def test_a_profile_is_canonical_and_names_columns_and_labels():
    x = Tensor("x", "FP64", np.array([[1.0, 2.0], [3.0, np.nan]]))
    label = Tensor("label", "INT64", np.array([3, 3]))
    specs = [TensorSpec(name="x", datatype="FP64", shape=(-1, 2), columns=("a", "b"))]
    outputs = [TensorSpec(name="label", datatype="INT64", shape=(-1,), semantic="label")]
    one = profile([x], [label], specs, outputs)
    assert [feature.column for feature in one.inputs] == ["a", "b"]
    assert one.outputs[0].categories.categories == {"3": 2}
    assert dump(one) == dump(profile([x], [label], specs, outputs))
    assert msgspec.json.decode(dump(one), type=Profile) == one


def test_each_of_few_values_has_a_bin_of_its_own():
    found = numbers(np.repeat([0.0, 1.0, 2.0, 7.0], [90, 1, 4, 5]))
    assert (found.edges, found.counts) == ((0, 1, 2, 7, 7), (90, 1, 4, 5))
    assert numbers(np.full(9, 3.0)).edges == (3,)
    clipped = numbers(np.minimum(np.random.default_rng(0).random(1000), 0.8))
    assert clipped.edges[-2:] == (0.8, 0.8)
    assert clipped.counts[-1] == np.count_nonzero(np.random.default_rng(0).random(1000) >= 0.8)
    plain = numbers(np.random.default_rng(0).random(1000))
    assert len(set(plain.edges)) == len(plain.edges) == 21
