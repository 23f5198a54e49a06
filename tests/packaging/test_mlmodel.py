import json
import tracemalloc

import numpy as np
import pytest
import scipy.sparse

from argosy.packaging import mlmodel
from argosy.spec.errors import BadPackage

BOMB = "a: &a [" + ",".join(["x"] * 9) + "]\n"
for before, name in zip("abcdefgh", "bcdefghi", strict=True):
    BOMB += f"{name}: &{name} [{','.join([f'*{before}'] * 9)}]\n"


def test_the_licence_of_metadata(tmp_path):
    (tmp_path / "MLmodel").write_text("metadata: {license: MIT}")
    assert mlmodel.licence(tmp_path) == "MIT"
    (tmp_path / "MLmodel").write_text("metadata: {license: [MIT]}")
    assert mlmodel.licence(tmp_path) == ""


@pytest.mark.parametrize("said", ["*i", "{}"])
def test_a_licence_made_of_aliases_costs_nothing(tmp_path, said):
    (tmp_path / "MLmodel").write_text(BOMB + f"metadata: {{license: {said}}}")
    tracemalloc.start()
    try:
        assert mlmodel.licence(tmp_path) == ""
        assert tracemalloc.get_traced_memory()[1] < 16 * 1024 * 1024
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize(
    "text",
    [
        "[" * 100_000 + "]" * 100_000,
        '{"columns": 1, "data": 2}',
        '{"columns": ["a"], "data": [[1, 2]]}',
        '{"columns": [[1]], "data": [[1]]}',
        "[[],{}]",
    ],
)
def test_an_input_example_of_an_odd_shape_is_refused(tmp_path, text):
    (tmp_path / "input_example.json").write_text(text)
    with pytest.raises(BadPackage, match="cannot be read"):
        mlmodel.example(tmp_path)


def test_an_input_example(tmp_path):
    rows = {"dataframe_split": {"columns": ["a", "b"], "data": [[1.0, "x"], [2.0, "y"]]}}
    (tmp_path / "input_example.json").write_text(json.dumps(rows))
    found = mlmodel.example(tmp_path)
    assert found is not None
    assert list(found.arrays) == ["a", "b"]


@pytest.mark.parametrize(
    ("text", "rows"),
    [
        ('{"columns": ["a", "b"], "data": [[NaN, "NaN"], [-Infinity, null]]}', [[None, "NaN"], [None, None]]),
        ('{"a": 1.5, "b": "x \\" NaN"}', [[1.5, 'x " NaN']]),
        ('[{"a": 1.5, "b": "x"}, {"a": NaN, "b": "y"}]', [[1.5, "x"], [None, "y"]]),
    ],
)
def test_examples_with_gaps_and_of_one_row(tmp_path, text, rows):
    (tmp_path / "input_example.json").write_text(text)
    found = mlmodel.example(tmp_path)
    assert found is not None
    columns = [[None if value != value else value for value in array.tolist()] for array in found.arrays.values()]
    assert [list(row) for row in zip(*columns, strict=True)] == rows


@pytest.mark.parametrize("kind", ["csr_matrix", "csc_matrix"])
def test_a_sparse_example(tmp_path, kind):
    dense = np.array([[0, 2, 0], [1, 0, 0]], "f8")
    sparse = getattr(scipy.sparse, kind)(dense)
    parts = {name: getattr(sparse, name).tolist() for name in ("data", "indices", "indptr")}
    (tmp_path / "input_example.json").write_text(json.dumps(parts | {"shape": [2, 3]}))
    found = mlmodel.example(tmp_path)
    assert found is not None
    np.testing.assert_array_equal(found.arrays[""], dense)


@pytest.mark.parametrize("changed", [{"indices": [0, 9]}, {"indptr": [0, 5, 1]}, {"shape": [2**40, 2**40]}])
def test_a_sparse_example_that_cannot_be(tmp_path, changed):
    whole = {"data": [1, 2], "indices": [0, 1], "indptr": [0, 1, 2], "shape": [2, 3]}
    (tmp_path / "input_example.json").write_text(json.dumps(whole | changed))
    with pytest.raises(BadPackage, match="cannot be read"):
        mlmodel.example(tmp_path)
