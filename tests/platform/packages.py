"""A real package that takes no time to make: an ONNX model of one multiplication, with its golden examples."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from argosy.protocol import tensorfile
from argosy.spec import strict
from argosy.spec.package import Conversion, Lineage, ModelManifest, Scan, Source
from argosy.spec.signature import Signature, TensorSpec
from argosy.spec.tensor import tensor
from argosy.store.store import Store
from argosy.store.version import Version


def times(factor: float) -> bytes:
    """y = factor * x for rows of four numbers."""
    shapes = [helper.make_tensor_value_info(name, TensorProto.FLOAT, ["n", 4]) for name in ("x", "y")]
    constant = numpy_helper.from_array(np.float32([factor]), "factor")
    graph = helper.make_graph(
        [helper.make_node("Mul", ["x", "factor"], ["y"])], "g", shapes[:1], shapes[1:], [constant]
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    return onnx.ModelProto.SerializeToString(model, deterministic=True)


def picky(factor: float) -> bytes:
    """The same, but NaN where x is negative: factor * x + 0 * sqrt(x)."""
    shapes = [helper.make_tensor_value_info(name, TensorProto.FLOAT, ["n", 4]) for name in ("x", "y")]
    constants = [numpy_helper.from_array(np.float32([each]), name) for name, each in (("f", factor), ("z", 0.0))]
    nodes = [("Mul", ["x", "f"], ["a"]), ("Sqrt", ["x"], ["b"]), ("Mul", ["b", "z"], ["c"]), ("Add", ["a", "c"], ["y"])]
    graph = helper.make_graph([helper.make_node(*each) for each in nodes], "g", shapes[:1], shapes[1:], constants)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    return onnx.ModelProto.SerializeToString(model, deterministic=True)


def blind(factor: float) -> bytes:
    """y = factor * |x|: right for no number below zero."""
    shapes = [helper.make_tensor_value_info(name, TensorProto.FLOAT, ["n", 4]) for name in ("x", "y")]
    constant = numpy_helper.from_array(np.float32([factor]), "factor")
    nodes = [helper.make_node("Abs", ["x"], ["a"]), helper.make_node("Mul", ["a", "factor"], ["y"])]
    graph = helper.make_graph(nodes, "g", shapes[:1], shapes[1:], [constant])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    return onnx.ModelProto.SerializeToString(model, deterministic=True)


def push(
    store: Store,
    folder: Path,
    factor: float,
    *,
    golden: float | None = None,
    name: str = "digits",
    model: Callable[[float], bytes] = times,
) -> Version:
    """Put the model into the store. With `golden`, its examples say that it multiplies by that instead."""
    folder.joinpath("weights").mkdir(parents=True)
    folder.joinpath("golden").mkdir()
    folder.joinpath("weights/model.onnx").write_bytes(model(factor))
    x = np.arange(8, dtype=np.float32).reshape(2, 4)
    tensorfile.write(folder / "golden/inputs.oip", [tensor("x", x)])
    tensorfile.write(folder / "golden/outputs.oip", [tensor("y", x * np.float32(golden or factor))])
    manifest = ModelManifest(
        name=name,
        engine="onnx",
        weights="weights/model.onnx",
        signature=Signature(
            inputs=(TensorSpec(name="x", datatype="FP32", shape=(-1, 4)),),
            outputs=(TensorSpec(name="y", datatype="FP32", shape=(-1, 4)),),
        ),
        source=Source(name="model.onnx", digest="sha256:" + "0" * 64, format="onnx"),
        conversion=Conversion(source="onnx", converted=False, reason="it is ONNX already"),
        scan=Scan(verdict="data-only"),
        golden_rows=2,
    )
    folder.joinpath("model.yaml").write_text(strict.dump_yaml(manifest))
    lineage = Lineage(pushed_by="ada", pushed_at="2026-01-01T00:00:00Z", host="here")
    return store.add(folder, name=name, manifest=manifest, lineage=lineage)


def push_class(store: Store, folder: Path, source: str, x: np.ndarray, label: np.ndarray, *, name: str) -> Version:
    """Put `class Model` of this source into the store: FP32 rows of two numbers to INT64 labels. `x` and `label` are
    its golden examples."""
    folder.joinpath("weights").mkdir(parents=True)
    folder.joinpath("golden").mkdir()
    folder.joinpath("weights/model.py").write_text(source)
    tensorfile.write(folder / "golden/inputs.oip", [tensor("x", x)])
    tensorfile.write(folder / "golden/outputs.oip", [tensor("label", label)])
    manifest = ModelManifest(
        name=name,
        engine="python",
        weights="weights",
        signature=Signature(
            inputs=(TensorSpec(name="x", datatype="FP32", shape=(-1, 2)),),
            outputs=(TensorSpec(name="label", datatype="INT64", shape=(-1,)),),
        ),
        source=Source(name="model.py", digest="sha256:" + "0" * 64, format="python"),
        conversion=Conversion(source="python", converted=False, reason="it is code"),
        scan=Scan(verdict="code", trusted=True),
        untrusted=True,
        settings={"class": "model:Model"},
        golden_rows=len(x),
    )
    folder.joinpath("model.yaml").write_text(strict.dump_yaml(manifest))
    lineage = Lineage(pushed_by="ada", pushed_at="2026-01-01T00:00:00Z", host="here")
    return store.add(folder, name=name, manifest=manifest, lineage=lineage, trusted=True)
