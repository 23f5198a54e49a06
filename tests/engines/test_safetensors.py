import json
from pathlib import Path

import numpy as np
import pytest

from argosy.engines.safetensors import inspect, inspect_folder, read
from argosy.spec.errors import BadPackage
from tests.engines.tiny_encoders import weights


@pytest.mark.parametrize("half", [False, True])
def test_tensors_are_read_where_they_lie(half: bool, tmp_path: Path) -> None:
    weights(tmp_path / "w", {"a.weight": (2, 3), "b": (4,)}, half=half)
    found = inspect(tmp_path / "w")
    assert list(found) == ["a.weight", "b"]
    array = read(found["a.weight"])
    assert array.shape == (2, 3)
    want = np.random.default_rng(7).standard_normal((2, 3)) * 0.3
    assert np.allclose(array, want, atol=1e-3)


def test_bf16_becomes_fp32(tmp_path: Path) -> None:
    header = json.dumps({"x": {"dtype": "BF16", "shape": [2], "data_offsets": [0, 4]}}).encode()
    (tmp_path / "w").write_bytes(len(header).to_bytes(8, "little") + header + b"\x80\x3f\x00\xc0")
    assert read(inspect(tmp_path / "w")["x"]).tolist() == [1.0, -2.0]


@pytest.mark.parametrize("size", [0, 5, 40, -1])
def test_a_truncated_file_is_told(size: int, tmp_path: Path) -> None:
    weights(tmp_path / "w", {"a": (2, 3)})
    data = (tmp_path / "w").read_bytes()
    (tmp_path / "w").write_bytes(data[:size])
    with pytest.raises(BadPackage, match=r"truncated|cut off"):
        inspect(tmp_path / "w")


@pytest.mark.parametrize(
    "entry",
    [
        {"dtype": "F32", "shape": [2], "data_offsets": [0, 4]},
        {"dtype": "F32", "shape": [-1], "data_offsets": [4, 0]},
        {"dtype": "F31", "shape": [1], "data_offsets": [0, 4]},
        {"dtype": "F32", "shape": [1], "data_offsets": [-4, 0]},
        {"dtype": "F32", "shape": "one", "data_offsets": [0, 4]},
        7,
    ],
    ids=["short", "negative", "datatype", "before", "words", "number"],
)
def test_what_cannot_be_is_refused(entry: object, tmp_path: Path) -> None:
    header = json.dumps({"x": entry}).encode()
    (tmp_path / "w").write_bytes(len(header).to_bytes(8, "little") + header + b"\0" * 8)
    with pytest.raises(BadPackage):
        inspect(tmp_path / "w")


def test_a_missing_shard_is_told_by_name(tmp_path: Path) -> None:
    weights(tmp_path / "one.safetensors", {"a": (2,)})
    index = tmp_path / "model.safetensors.index.json"
    index.write_text(json.dumps({"weight_map": {"a": "one.safetensors"}}))
    assert list(inspect_folder(tmp_path)) == ["a"]
    index.write_text(json.dumps({"weight_map": {"a": "one.safetensors", "b": "two.safetensors"}}))
    with pytest.raises(BadPackage, match=r"two\.safetensors"):
        inspect_folder(tmp_path)


@pytest.mark.parametrize(
    ("offsets", "size", "said"),
    [
        ([[0, 4], [0, 4]], 4, "'b' does not begin where the one before it ends"),
        ([[0, 4], [8, 12]], 12, "'b' does not begin where the one before it ends"),
        ([[0, 4], [4, 8]], 11, "3 bytes follow its last tensor"),
    ],
)
def test_tensors_fill_the_file(tmp_path, offsets, size, said):
    head = json.dumps(
        {n: {"dtype": "U8", "shape": [4], "data_offsets": at} for n, at in zip("ab", offsets, strict=True)}
    ).encode()
    path = tmp_path / "a.safetensors"
    path.write_bytes(len(head).to_bytes(8, "little") + head + bytes(size))
    with pytest.raises(BadPackage, match=said):
        inspect(path)
