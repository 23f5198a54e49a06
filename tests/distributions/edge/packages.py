"""Small packages for the agent, as the platform builds them: ONNX, manifest, golden examples."""

from pathlib import Path

import msgspec
import numpy as np
import onnxruntime
from onnx import TensorProto, helper, numpy_helper, save

from argosy.packaging.package import INPUTS, OUTPUTS, write_manifest
from argosy.protocol import tensorfile
from argosy.spec.package import Conversion, ModelManifest, Scan, Source
from argosy.spec.signature import Domain, Signature, TensorSpec
from argosy.spec.tensor import Tensor

node = helper.make_node
COLUMNS = ("a", "b", "c", "d")
WEIGHTS = np.random.default_rng(0).standard_normal((4, 3)).astype("f4")
ROWS = np.random.default_rng(1).standard_normal((8, 4)).astype("f4")
SIGNATURE = Signature(
    inputs=(
        TensorSpec(
            name="x", datatype="FP32", shape=(-1, 4), columns=COLUMNS, domain=Domain(gaps=(False,), limits=(1e6,))
        ),
    ),
    outputs=(
        TensorSpec(name="label", datatype="INT64", shape=(-1,), semantic="label"),
        TensorSpec(name="scores", datatype="FP32", shape=(-1, 3), semantic="probability"),
    ),
)
SCORES = [
    node("MatMul", ["x", "w"], ["raw"]),
    node("Softmax", ["raw"], ["scores"], axis=-1),
    node("ArgMax", ["scores"], ["label"], axis=-1, keepdims=0),
]


def written(folder: Path, nodes, constants, signature, rows, name="model", **manifest):
    """A package of these nodes in a folder that is made, with golden examples of these rows. Its manifest, as in an
    update."""
    folder.mkdir(parents=True)
    (folder / "golden").mkdir()
    kinds = {"FP32": TensorProto.FLOAT, "INT64": TensorProto.INT64, "BYTES": TensorProto.STRING}
    sides = [
        [
            helper.make_tensor_value_info(
                port.source or port.name,
                kinds[port.datatype],
                [size if size >= 0 else f"N{axis}" for axis, size in enumerate(port.shape)],
            )
            for port in side
        ]
        for side in (signature.inputs, signature.outputs)
    ]
    given = [numpy_helper.from_array(np.asarray(value), key) for key, value in constants.items()]
    graph = helper.make_graph(nodes, "graph", *sides, given)
    save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9), folder / "model.onnx")
    session = onnxruntime.InferenceSession(folder / "model.onnx", providers=["CPUExecutionProvider"])
    feeds = {port.source or port.name: rows[port.name] for port in signature.inputs}
    found = session.run([port.source or port.name for port in signature.outputs], feeds)
    tensorfile.write(folder / INPUTS, [_tensor(port, rows[port.name]) for port in signature.inputs])
    tensorfile.write(
        folder / OUTPUTS, [_tensor(port, array) for port, array in zip(signature.outputs, found, strict=True)]
    )
    whole = ModelManifest(
        **{
            "name": name,
            "engine": "onnx",
            "weights": "model.onnx",
            "signature": signature,
            "source": Source(name="model.onnx", digest="sha256:" + "0" * 64, format="onnx"),
            "conversion": Conversion(source="onnx", converted=False, reason=""),
            "scan": Scan(verdict="data-only"),
            **manifest,
        }
    )
    write_manifest(folder, whole)
    return msgspec.json.decode(msgspec.json.encode(whole))


def _tensor(port, array):
    if port.datatype == "BYTES":
        flat = np.empty(array.size, object)
        flat[:] = [each.encode() for each in array.reshape(-1)]
        array = flat.reshape(array.shape)
    return Tensor(port.name, port.datatype, array)


def classifier(folder, order=(0, 1, 2), name="model", **manifest):
    """Three classes of four numbers; `order` exchanges the classes."""
    constants = {"w": WEIGHTS[:, list(order)]}
    return written(folder, SCORES, constants, SIGNATURE, {"x": ROWS}, name, **manifest)


def free(folder):
    """Doubles numbers, of rows as wide as they come."""
    ports = [TensorSpec(name=name, datatype="FP32", shape=(-1, -1)) for name in ("x", "twice")]
    nodes = [node("Add", ["x", "x"], ["twice"])]
    return written(folder, nodes, {}, Signature(inputs=(ports[0],), outputs=(ports[1],)), {"x": ROWS}, "free")


def texts(folder):
    """Gives back strings, under names that are not those of the file."""
    ports = [TensorSpec(name=n, datatype="BYTES", shape=(-1,), source=s) for n, s in (("text", "in"), ("same", "out"))]
    signature = Signature(inputs=(ports[0],), outputs=(ports[1],))
    rows = {"text": np.array(["a", "é", ""], object)}
    return written(folder, [node("Identity", ["in"], ["out"])], {}, signature, rows, "texts")


def busy(folder, turns):
    """The classifier, which multiplies a matrix with itself so many times before it answers."""
    body = helper.make_graph(
        [
            node("Identity", ["go"], ["on"]),
            node("MatMul", ["m", "m"], ["p"]),
            node("Mul", ["p", "tiny"], ["n"]),
        ],
        "body",
        [
            helper.make_tensor_value_info("i", TensorProto.INT64, []),
            helper.make_tensor_value_info("go", TensorProto.BOOL, []),
            helper.make_tensor_value_info("m", TensorProto.FLOAT, [96, 96]),
        ],
        [
            helper.make_tensor_value_info("on", TensorProto.BOOL, []),
            helper.make_tensor_value_info("n", TensorProto.FLOAT, [96, 96]),
        ],
    )
    nodes = [
        node("Loop", ["turns", "", "start"], ["last"], body=body),
        node("ReduceSum", ["last"], ["sum"], keepdims=0),
        node("Mul", ["sum", "none"], ["nothing"]),
        node("Add", ["x", "nothing"], ["y"]),
        node("MatMul", ["y", "w"], ["raw"]),
        *SCORES[1:],
    ]
    constants = {
        "w": WEIGHTS,
        "turns": np.int64(turns),
        "start": np.full((96, 96), 0.01, "f4"),
        "tiny": np.float32(1e-3),
        "none": np.float32(0),
    }
    return written(folder, nodes, constants, SIGNATURE, {"x": ROWS})


def large(folder, share):
    """The classifier, which makes a tensor of `share` bytes on its way, where a row begins with a number above 9."""
    nodes = [
        node("ReduceMax", ["x"], ["most"], keepdims=0),
        node("Greater", ["most", "nine"], ["above"]),
        node("Cast", ["above"], ["many"], to=TensorProto.INT64),
        node("Mul", ["many", "size"], ["length"]),
        node("Reshape", ["length", "one"], ["shape"]),
        node("ConstantOfShape", ["shape"], ["zeros"], value=numpy_helper.from_array(np.array([1], "f4"))),
        node("ReduceSum", ["zeros"], ["sum"], keepdims=0),
        node("Mul", ["sum", "none"], ["nothing"]),
        node("Add", ["x", "nothing"], ["y"]),
        node("MatMul", ["y", "w"], ["raw"]),
        *SCORES[1:],
    ]
    constants = {
        "w": WEIGHTS,
        "nine": np.float32(9),
        "size": np.int64(share // 4),
        "one": np.array([1]),
        "none": np.float32(0),
    }
    return written(folder, nodes, constants, SIGNATURE, {"x": ROWS})
