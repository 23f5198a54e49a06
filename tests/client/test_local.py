import pytest

from argosy.client.local import locate, name_of
from argosy.packaging.options import PushOptions
from argosy.spec.errors import InvalidArgument, NotFound


@pytest.mark.parametrize(
    ("file", "name"), [("My Model.onnx", "my-model"), ("a.b.onnx", "a.b"), ("___.onnx", "model"), ("Ünï.pkl", "n")]
)
def test_name_of(tmp_path, file, name):
    (tmp_path / file).write_text("")
    assert name_of(tmp_path / file) == name


def test_what_is_not_there(tmp_path, monkeypatch):
    monkeypatch.setenv("ARGOSY_HOME", str(tmp_path))
    with pytest.raises(NotFound, match="no model at"):
        locate("./model.onnx")
    with pytest.raises(NotFound, match=r"^no model is named 'digits'"):
        locate("digits")
    with pytest.raises(NotFound, match=r"there is no file digits\.onnx, and no model is named"):
        locate("digits.onnx")


def test_options_on_what_is_packaged_already(tmp_path, monkeypatch):
    monkeypatch.setenv("ARGOSY_HOME", str(tmp_path))
    with pytest.raises(InvalidArgument, match="packaged already"):
        locate("digits:1", PushOptions(trust=True))


def test_a_folder_of_the_same_name_is_no_model(tmp_path, monkeypatch):
    monkeypatch.setenv("ARGOSY_HOME", str(tmp_path / "home"))
    monkeypatch.chdir(tmp_path)
    (tmp_path / "digits").mkdir()
    with pytest.raises(NotFound, match="no model is named 'digits'"):
        locate("digits")
