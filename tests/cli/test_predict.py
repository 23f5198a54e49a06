import io

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from argosy.cli import keys, predict
from argosy.protocol.rest import Response
from argosy.spec.errors import InvalidArgument, Unavailable
from argosy.spec.tensor import tensor


@pytest.mark.parametrize("data", ["rows.csv", "1", "", "hello"])
def test_source_refuses(data):
    with pytest.raises(InvalidArgument, match="-d takes @FILE"):
        predict._source(data, None)


def test_format_of_inline_json():
    with pytest.raises(InvalidArgument, match="--format csv is for files"):
        predict._source("[1]", "csv")


def test_source_hints_at_the_at(tmp_path):
    (tmp_path / "rows.csv").write_text("a\n1\n")
    with pytest.raises(InvalidArgument, match="for a file write  -d @"):
        predict._source(str(tmp_path / "rows.csv"), None)


def test_source(monkeypatch):
    assert predict._source("@a.csv", None) == (predict_path("a.csv"), "")
    assert predict._source("@a.txt", "csv") == (predict_path("a.txt"), ".csv")
    assert predict._source(" [1]", None) == (b" [1]", ".json")
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(b"a\n1\n")))
    assert predict._source("-", "csv") == (b"a\n1\n", ".csv")


def predict_path(name):
    from pathlib import Path

    return Path(name)


@given(st.integers(0, 200), st.integers(1, 64))
def test_parts_together_are_the_whole(rows, limit):
    original = predict.CHUNK_BYTES
    predict.CHUNK_BYTES = limit
    try:
        x = tensor("x", np.arange(rows * 3, dtype="f4").reshape(rows, 3))
        word = tensor("w", np.array([f"{n}" for n in range(rows)], dtype=object))
        chunks = predict._chunks([x, word], batched=True)
    finally:
        predict.CHUNK_BYTES = original
    joined = predict._joined([Response("m", "1", chunk) for chunk in chunks])
    assert joined.tensors[0].array.tolist() == x.array.tolist()
    assert joined.tensors[1].array.tolist() == word.array.tolist()
    assert predict._chunks([x, word], batched=False) == [[x, word]]


def test_classes_by_name(capsys):
    outputs = [tensor("label", np.array([1, 0])), tensor("p", np.array([[0.25, 0.75], [1, 0]], "f4"))]
    predict._print(Response("m", "1", outputs), {"label": ("no", "yes"), "p": ("no", "yes")})
    lines = capsys.readouterr().out.splitlines()
    assert lines[1].split() == ["0", "yes", "no", "0.25,", "yes", "0.75"]
    assert lines[2].split() == ["1", "no", "no", "1,", "yes", "0"]


def test_table_of_rows(capsys):
    outputs = [
        tensor("label", np.array(["é", "b"], dtype=object)),
        tensor("p", np.array([[0.123456789, 1], [0, 1]], "f4")),
    ]
    predict._print(Response("m", "1", outputs), {})
    assert capsys.readouterr().out.splitlines() == ["ROW  LABEL  P", "0    é      0.123457 1", "1    b      0 1"]


def test_table_of_outputs(capsys):
    predict._print(Response("m", "1", [tensor("a", np.array(1.5)), tensor("b", np.arange(30))]), {})
    lines = capsys.readouterr().out.splitlines()
    assert lines[1] == "a       1.5"
    assert lines[2].endswith("19 … 30 in all")


def test_no_platform_names_the_other_way(run):
    result = run("predict", "digits", "-d", "[[1]]")
    assert result.exit_code == 6
    assert "argosy up -d, or name a server with --url" in result.stderr


def test_a_gateway_without_a_controller(place, monkeypatch):
    keys.save(place, "digits", keys.SavedKey("id", "ak", "http://127.0.0.1:1/v2/models/digits/infer"))
    with pytest.raises(Unavailable, match="no platform is running"):
        predict.target("digits", None, None)
    monkeypatch.setattr(predict, "_alive", lambda url: True)
    assert predict.target("digits", None, None) == ("http://127.0.0.1:1", "ak")
    assert predict.target("digits", None, "other") == ("http://127.0.0.1:1", "other")
    assert predict.target("digits", "http://h", None) == ("http://h", None)


def test_environment(run, monkeypatch):
    monkeypatch.setenv("ARGOSY_URL", "http://127.0.0.1:1")
    result = run("predict", "digits", "-d", "[[1]]", "--timeout", "0.3", "--json")
    assert result.exit_code == 6
    assert "127.0.0.1:1" in msgspec.json.decode(result.stderr)["error"]


def test_key_file(place):
    path = keys.save(place, "digits", keys.SavedKey("id1", "ak_1"))
    assert path.stat().st_mode & 0o777 == 0o600
    assert path.parent.stat().st_mode & 0o777 == 0o700
    keys.save(place, "digits", keys.SavedKey("id2", "ak_2"))
    assert keys.find(place, "digits") == keys.SavedKey("id2", "ak_2", "")
    keys.forget(place, "id1")
    assert keys.find(place, "digits") is not None
    keys.forget(place, "id2")
    assert keys.find(place, "digits") is None
    path.write_text("nonsense")
    assert keys.find(place, "digits") is None


def test_the_size_of_a_tensor_is_known_without_its_bytes(monkeypatch):
    from argosy.protocol import raw

    tensors = [
        tensor("x", np.zeros((3, 5), "f4")),
        tensor("b", np.array([True, False])),
        tensor("w", np.array([["", "é"], ["abc", "d"]], dtype=object)),
    ]
    assert [raw.size_of(one) for one in tensors] == [len(raw.encode(one)) for one in tensors]
    monkeypatch.setattr(raw, "encode", None)
    assert predict._chunks(tensors, batched=True) == [tensors]
