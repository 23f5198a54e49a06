from pathlib import Path

import numpy as np
import pytest
from onnx import TensorProto, helper

from argosy.engines import load
from argosy.engines.onnx_file import inspect
from argosy.spec.errors import BadPackage
from tests.engines.graphs import FLOAT, identity, model, save, weighted

W = np.array([1, 2], "<f4").tobytes()


def test_what_is_found(tmp_path: Path) -> None:
    contents = inspect(save(tmp_path / "m", identity()))
    assert contents.opsets == {"": 17}
    assert contents.nodes == {("", "Identity")}
    assert not contents.shapeless


def test_external_data_in_the_folder_is_served(tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "w.bin").write_bytes(b"....." + W)
    path = save(tmp_path / "m.onnx", weighted(location="data/w.bin", offset="5", length="8"))
    out = load("onnx", path).predict({"x": np.zeros((3, 2), "f4")})
    assert out[0].tolist() == [[1, 2]] * 3


@pytest.mark.parametrize(
    "location", ["../w.bin", "/etc/passwd", "a/../../w.bin", "*/_ORT_MEM_ADDR_/*", "..\\w.bin", "", "c:w.bin"]
)
def test_external_data_outside_is_refused(tmp_path: Path, location: str) -> None:
    (tmp_path / "w.bin").write_bytes(W)
    (tmp_path / "in").mkdir()
    path = save(tmp_path / "in" / "m.onnx", weighted(location=location))
    with pytest.raises(BadPackage, match="relative path inside"):
        inspect(path)


def test_links_are_refused(tmp_path: Path) -> None:
    (tmp_path / "w.bin").write_bytes(W)
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "w.bin").symlink_to(tmp_path / "w.bin")
    (tmp_path / "in" / "d").symlink_to(tmp_path)
    for location in ("w.bin", "d/w.bin"):
        with pytest.raises(BadPackage, match="symbolic link"):
            inspect(save(tmp_path / "in" / "m.onnx", weighted(location=location)))


@pytest.mark.parametrize(
    ("entries", "message"),
    [
        ({"location": "gone"}, "not there"),
        ({"location": "w.bin", "offset": "4"}, "truncated"),
        ({"location": "w.bin", "length": "4"}, "needs 8"),
        ({"location": "w.bin", "offset": "-4"}, "no number"),
    ],
)
def test_external_data_that_is_not_whole(tmp_path: Path, entries: dict[str, str], message: str) -> None:
    (tmp_path / "w.bin").write_bytes(W)
    with pytest.raises(BadPackage, match=message):
        inspect(save(tmp_path / "m.onnx", weighted(**entries)))


def test_external_data_is_found_in_subgraphs_and_attributes(tmp_path: Path) -> None:
    hidden = weighted(location="/etc/passwd").graph.initializer[0]
    constant = helper.make_node("Constant", [], ["c"], value=hidden)
    branch = helper.make_graph([constant], "b", [], [helper.make_tensor_value_info("c", FLOAT, [2])])
    node = helper.make_node("If", ["q"], ["y"], then_branch=branch, else_branch=branch)
    path = save(tmp_path / "m", model([node], [("q", TensorProto.BOOL, [])], [("y", FLOAT, [2])]))
    with pytest.raises(BadPackage, match="/etc/passwd"):
        inspect(path)


def test_custom_operators_are_refused(tmp_path: Path) -> None:
    node = helper.make_node("Evil", ["x"], ["y"], domain="my.ops")
    path = save(tmp_path / "m", model([node], [("x", FLOAT, [1])], [("y", FLOAT, [1])], domains=("my.ops",)))
    with pytest.raises(BadPackage, match=r"my\.ops::Evil"):
        inspect(path)


def test_functions_in_the_file_are_no_custom_operators(tmp_path: Path) -> None:
    proto = model(
        [helper.make_node("Twice", ["x"], ["y"], domain="mine")],
        [("x", FLOAT, ["n"])],
        [("y", FLOAT, ["n"])],
        domains=("mine",),
    )
    body = [helper.make_node("Add", ["a", "a"], ["b"])]
    proto.functions.append(helper.make_function("mine", "Twice", ["a"], ["b"], body, [helper.make_opsetid("", 17)]))
    engine = load("onnx", save(tmp_path / "m.onnx", proto))
    assert engine.predict({"x": np.ones(2, "f4")})[0].tolist() == [2, 2]


def test_impossible_tensors_are_refused(tmp_path: Path) -> None:
    proto = weighted()
    proto.graph.initializer[0].dims[0] = 1 << 40
    with pytest.raises(BadPackage, match="claims"):
        inspect(save(tmp_path / "m", proto))
    proto.graph.initializer[0].ClearField("float_data")
    proto.graph.initializer[0].raw_data = W
    with pytest.raises(BadPackage, match="needs"):
        inspect(save(tmp_path / "m", proto))
    proto.graph.initializer[0].dims[0] = -1
    with pytest.raises(BadPackage, match="impossible"):
        inspect(save(tmp_path / "m", proto))


@pytest.mark.parametrize("part", [0.0, 0.1, 0.5, 0.9, 0.99])
def test_cut_files(tmp_path: Path, part: float) -> None:
    data = weighted().SerializeToString()
    with pytest.raises(BadPackage):
        load("onnx", save(tmp_path / "m.onnx", data[: int(len(data) * part)]))


def test_every_cut_is_noticed(tmp_path: Path) -> None:
    data = weighted().SerializeToString()
    for end in range(len(data)):
        with pytest.raises(BadPackage):
            inspect(save(tmp_path / "m", data[:end]))


def test_folders_and_missing_files(tmp_path: Path) -> None:
    with pytest.raises(BadPackage, match="folder"):
        inspect(tmp_path)
    with pytest.raises(BadPackage, match="cannot read"):
        inspect(tmp_path / "gone")


def test_a_file_over_two_gigabytes(tmp_path: Path) -> None:
    path = tmp_path / "big.onnx"
    with path.open("wb") as file:
        file.truncate(2**31)
    with pytest.raises(BadPackage, match="2 GiB"):
        inspect(path)
