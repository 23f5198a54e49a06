import msgspec
import numpy as np
import pytest

from argosy.packaging.profile import Categories, Feature, Numbers, numbers
from argosy.packaging.profile import Profile as Reference
from argosy.profiles.layout import Layout, layout, reference_counts
from argosy.profiles.recorder import Recorder
from argosy.spec.errors import InvalidArgument
from argosy.spec.signature import Signature, TensorSpec
from tests.profiles.models import COLUMNS, SIGNATURE, reference, small


def test_columns_are_named_as_users_do_and_numbers_come_first():
    where = small()
    assert [column.name for column in where.columns] == [*COLUMNS, "p", "country", "label"]
    assert where.numbers == 6
    assert where.runs == [(0, 5), (5, 6)]
    assert where.columns[where.index("country")].known == ("DE", "FR", "US") or where.columns[6].complete


def test_the_reference_fills_its_own_cells():
    where = small()
    counts = reference_counts(where, reference())
    for place in range(len(where.columns)):
        assert counts[where.slice(place)].sum() == 2000
    assert where.cells == len(counts)


def test_a_name_on_both_sides_tells_its_side():
    spec = TensorSpec(name="y", datatype="FP64", shape=(-1,))
    feature = Feature(tensor="y", numbers=Numbers(count=2, missing=0, min=0, max=1, edges=(0.0, 1.0), counts=(2,)))
    where = layout(Reference(rows=2, inputs=(feature,), outputs=(feature,)), Signature(inputs=(spec,), outputs=(spec,)))
    assert [column.name for column in where.columns] == ["input.y", "output.y"]


def test_an_unknown_column_is_told_with_those_that_exist():
    with pytest.raises(InvalidArgument, match="no column 'ages' is profiled; the model has age, income"):
        small().index("ages")


def test_a_profile_of_other_tensors_is_refused():
    with pytest.raises(InvalidArgument, match="has the input 'x', which the signature lacks"):
        layout(reference(), msgspec.structs.replace(SIGNATURE, inputs=SIGNATURE.inputs[1:]))


def test_the_digest_tells_layouts_apart():
    assert small().digest == small().digest
    assert small().digest != layout(reference(seed=5), SIGNATURE).digest


def test_cells_are_labelled_for_people():
    where = small()
    age, country = where.columns[0], where.columns[where.index("country")]
    assert [age.label(age.inner + place) for place in range(4)] == ["below", "above", "infinite", "missing"]
    assert " to " in age.label(0)
    assert country.label(3) == "other"
    assert country.label(0) in ("DE", "FR", "US")


def test_constant_and_all_missing_references_have_cells_too():
    spec = TensorSpec(name="x", datatype="FP64", shape=(-1, 3), columns=("constant", "gone", "plain"))
    features = (
        Feature(
            tensor="x", column="constant", numbers=Numbers(count=9, missing=0, min=3, max=3, edges=(3,), counts=(9,))
        ),
        Feature(tensor="x", column="gone", numbers=Numbers(count=9, missing=9)),
        Feature(tensor="x", column="plain", numbers=Numbers(count=9, missing=0, min=0, max=3)),
    )
    one = Reference(rows=9, inputs=features, outputs=())
    where = layout(one, Signature(inputs=(spec,), outputs=()))
    assert [column.cells for column in where.columns] == [5, 5, 5]
    assert [column.label(0) for column in where.columns] == ["3", "any number", "any number"]
    assert [column.detailed for column in where.columns] == [True, True, False]
    counts = reference_counts(where, one)
    assert [counts[where.slice(place)].tolist() for place in range(3)] == [
        [9, 0, 0, 0, 0],
        [0, 0, 0, 0, 9],
        [9, 0, 0, 0, 0],
    ]


def test_a_whole_tensor_counts_one_value_a_row():
    spec = TensorSpec(name="image", datatype="FP32", shape=(-1, 4, 4))
    feature = Feature(
        tensor="image", numbers=Numbers(count=160, missing=0, min=0, max=1, edges=(0.0, 0.5, 1.0), counts=(80, 80))
    )
    one = Reference(rows=10, inputs=(feature,), outputs=())
    assert reference_counts(layout(one, Signature(inputs=(spec,), outputs=())), one).sum() == 10


def test_a_category_with_unlisted_values_cannot_tell_unseen_ones():
    spec = TensorSpec(name="c", datatype="BYTES", shape=(-1,))
    for other, complete in ((0, True), (4, False)):
        feature = Feature(
            tensor="c", categories=Categories(count=9 + other, missing=1, categories={"a": 8}, other=other, distinct=2)
        )
        one = Reference(rows=9 + other, inputs=(feature,), outputs=())
        where = layout(one, Signature(inputs=(spec,), outputs=()))
        assert where.columns[0].complete is complete
        assert reference_counts(where, one).tolist() == [8, other, 1]


def test_no_columns_make_an_empty_layout():
    assert Layout([]).cells == 0
    assert np.array_equal(Layout([]).starts, [])


def test_the_largest_of_few_values_is_counted_in_its_own_cell():
    spec = TensorSpec(name="y", datatype="INT64", shape=(-1,))
    found = numbers(np.repeat([0, 1, 2], 10))
    feature = Feature(tensor="y", numbers=found)
    where = layout(Reference(rows=30, inputs=(), outputs=(feature,)), Signature(inputs=(), outputs=(spec,)))
    recorder = Recorder(where, "1")
    recorder.add(0, {}, {"y": np.array([0, 1, 1, 2, 2, 2, 3])})
    (came,) = recorder.take(60)
    assert came.counts == (1, 2, 3, 0, 1, 0, 0)
    assert [where.columns[0].label(cell) for cell in range(3)] == ["0", "1", "2"]
    assert [msgspec.structs.replace(where.columns[0], datatype="FP32").label(cell) for cell in (1, 2)] == [
        "1 to 2",
        "2",
    ]
