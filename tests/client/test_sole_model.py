"""The one model of a folder, where a cloud has put it."""

import pytest

from argosy.client.local import sole_model
from argosy.spec.errors import InvalidArgument, NotFound
from tests.cli.models import linear


def test_a_file_a_folder_with_one_and_the_only_folder_within(tmp_path):
    place = tmp_path / "model" / "1"
    place.mkdir(parents=True)
    path = linear(place / "lin.onnx")
    (place / "README.md").write_text("not a model")
    (place / ".hidden").mkdir()
    for given in (path, place, tmp_path / "model", tmp_path):
        assert sole_model(given) == path
    (place / "MLmodel").write_text("flavors: {}")
    assert sole_model(tmp_path) == place
    (tmp_path / "model.yaml").write_text("")
    assert sole_model(tmp_path) == tmp_path


def test_none_or_several_are_named(tmp_path):
    with pytest.raises(NotFound, match="nothing in it: it takes one package folder"):
        sole_model(tmp_path)
    (tmp_path / "notes.txt").write_text("x")
    with pytest.raises(NotFound, match=r"which has notes\.txt"):
        sole_model(tmp_path)
    for name in ("a.onnx", "b.onnx"):
        linear(tmp_path / name)
    with pytest.raises(InvalidArgument, match=r"2 models, and one is served: a\.onnx, b\.onnx"):
        sole_model(tmp_path)
    with pytest.raises(NotFound, match=r"notes\.txt is no model"):
        sole_model(tmp_path / "notes.txt")
