import json
import tracemalloc

import pytest

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
