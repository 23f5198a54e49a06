"""The ONNX graph of an encoder of the BERT family, from its config and the names of its weights.

The graph takes texts without padding, one after the other: matrix products see tokens only, and attention alone sees
rows of one length. The weights stay where they are: the graph refers to the safetensors files beside it.
"""

from pathlib import Path
from typing import Any, NamedTuple

import msgspec
import numpy as np

from argosy.engines.base import require
from argosy.engines.safetensors import Stored, inspect_folder, read
from argosy.spec.errors import BadPackage

MODEL = "model.onnx"
ACCEPTED = "BERT, RoBERTa, XLM-RoBERTa, CamemBERT, DistilBERT and MPNet"
ELSE = (
    "of others the folder must have an ONNX file, onnx/model.onnx, as  optimum-cli export onnx --model FOLDER "
    "FOLDER/onnx  writes it where torch is installed"
)
_TORCH_TYPES = {"F32": 1, "F16": 10, "BF16": 16}  # TensorProto.DataType
_MS = "com.microsoft"


class Names(NamedTuple):
    """What a family calls its parts: a layer, and within it query, key, value, projection and norm of the attention,
    both products of the feed-forward part and its norm."""

    layer: str
    query: str
    key: str
    value: str
    projection: str
    attention_norm: str
    up: str
    down: str
    norm: str


def _names(layer: str, attention: str, rest: str) -> Names:
    first, second, third, fourth, norm = attention.split()
    up, down, last = rest.split()
    return Names(layer, first, second, third, fourth, norm, up, down, last)


_REST = "intermediate.dense output.dense output.LayerNorm"
_BERT = _names(
    "encoder.layer",
    "attention.self.query attention.self.key attention.self.value attention.output.dense attention.output.LayerNorm",
    _REST,
)
_MPNET = _names(
    "encoder.layer",
    "attention.attn.q attention.attn.k attention.attn.v attention.attn.o attention.LayerNorm",
    _REST,
)
_DISTIL = _names(
    "transformer.layer",
    "attention.q_lin attention.k_lin attention.v_lin attention.out_lin sa_layer_norm",
    "ffn.lin1 ffn.lin2 output_layer_norm",
)
FAMILIES = {
    "bert": _BERT,
    "roberta": _BERT,
    "xlm-roberta": _BERT,
    "camembert": _BERT,
    "distilbert": _DISTIL,
    "mpnet": _MPNET,
}
"""`model_type` of a config.json → its names."""


class EncoderConfig(msgspec.Struct, rename={"kind": "model_type"}):
    """What `config.json` says, in the words of BERT and of DistilBERT."""

    kind: str
    architectures: list[str] = []
    hidden_size: int = 0
    dim: int = 0
    num_hidden_layers: int = 0
    n_layers: int = 0
    num_attention_heads: int = 0
    n_heads: int = 0
    hidden_act: str = ""
    activation: str = ""
    layer_norm_eps: float = 1e-12
    position_embedding_type: str | None = "absolute"
    is_decoder: bool = False
    pad_token_id: int | None = 0
    relative_attention_num_buckets: int = 32
    max_position_embeddings: int = 512
    num_labels: int | None = None
    id2label: dict[str, str] | None = None

    @property
    def classes(self) -> int:
        """Of a model that classifies: how many."""
        return len(self.id2label) if self.id2label else self.num_labels or 2

    @property
    def offset(self) -> int:
        """The position of a first token."""
        return 0 if self.kind in ("bert", "distilbert") else 2 if self.kind == "mpnet" else (self.pad_token_id or 0) + 1


def build(folder: Path, config: EncoderConfig, into: Path, rerank: bool) -> dict[str, Stored]:
    """Write the graph of a folder's model to `into`, for weights that lie beside it, and return them. With `rerank` it
    ends in the one score of a classifier. Raises BadPackage for what is no encoder of these families, MissingExtra."""
    if config.kind not in FAMILIES or config.is_decoder or config.position_embedding_type not in ("absolute", None):
        raise BadPackage(
            f"{folder.name} is a model of the kind '{config.kind[:60]}'; of encoders Argosy makes the graph of "
            f"{ACCEPTED} itself: {ELSE}"
        )
    weights = inspect_folder(folder)
    graph = _Graph(require("onnx", "onnx", "an encoder of safetensors"), config, weights)
    graph.write(into, rerank)
    return weights


class _Graph:
    """A graph that grows node by node; methods return the name of what they add."""

    def __init__(self, onnx: Any, config: EncoderConfig, weights: dict[str, Stored]) -> None:
        self._onnx, self._config, self._weights = onnx, config, weights
        self._nodes: list[Any] = []
        self._tensors: dict[str, Any] = {}
        mark = "embeddings.word_embeddings.weight"
        found = [name.removesuffix(mark) for name in weights if name.endswith(mark)]
        if len(found) != 1:
            raise BadPackage(f"the weights have no tensor {mark}, as a {config.kind} model has")
        self._prefix = found[0]
        self._heads = config.num_attention_heads or config.n_heads
        self._width = weights[found[0] + mark].shape[1]

    def write(self, into: Path, rerank: bool) -> None:
        helper, types = self._onnx.helper, self._onnx.TensorProto
        found = self._scores(self._layers()) if rerank else self._layers()
        self._node("Identity", [found], output="score" if rerank else "hidden")
        shapes = {"ids": ["n"], "positions": ["n"], "types": ["n"], "pad": ["rows", "longest"], "unpad": ["n"]}
        inputs = [helper.make_tensor_value_info(name, types.INT64, shape) for name, shape in shapes.items()]
        inputs.append(helper.make_tensor_value_info("mask", types.INT32, ["rows", "longest"]))
        inputs += [helper.make_tensor_value_info("first", types.INT64, ["rows"])] if rerank else []
        shape = ["rows", 1] if rerank else ["n", self._width]
        outputs = [helper.make_tensor_value_info("score" if rerank else "hidden", types.FLOAT, shape)]
        graph = helper.make_graph(self._nodes, "encoder", inputs, outputs, list(self._tensors.values()))
        opsets = [helper.make_opsetid("", 18), helper.make_opsetid(_MS, 1)]
        into.write_bytes(
            helper.make_model(graph, opset_imports=opsets, ir_version=9, producer_name="argosy").SerializeToString()
        )

    def _layers(self) -> str:
        names, eps = FAMILIES[self._config.kind], self._config.layer_norm_eps
        count = self._config.num_hidden_layers or self._config.n_layers
        kind = self._config.hidden_act or self._config.activation
        bias = self._relative()
        x = self._embedded()
        for place in range(count):
            at = f"{names.layer}.{place}."
            rows = [
                self._node("Gather", [self._linear(x, at + part), "pad"])
                for part in (names.query, names.key, names.value)
            ]
            seen = self._node(
                "MultiHeadAttention", [*rows, "", "mask", bias], _MS, num_heads=self._heads, mask_filter_value=-1e9
            )
            flat = self._node("Reshape", [seen, self._constant("flat", np.array([-1, self._width]))])
            back = self._node("Gather", [flat, "unpad"])
            x = self._add_norm(back, at + names.projection, x, at + names.attention_norm, eps)
            x = self._add_norm(self._active(kind, x, at + names.up), at + names.down, x, at + names.norm, eps)
        return x

    def _embedded(self) -> str:
        start = "embeddings."
        at = self._node("Add", ["positions", self._constant("offset", np.array([self._config.offset]))])
        parts = [
            self._node("Gather", [self._weight(start + "word_embeddings.weight"), "ids"]),
            self._node("Gather", [self._weight(start + "position_embeddings.weight"), at]),
        ]
        if self._prefix + start + "token_type_embeddings.weight" in self._weights:
            parts.append(self._node("Gather", [self._weight(start + "token_type_embeddings.weight"), "types"]))
        total = self._node("Sum", parts)
        eps = self._config.layer_norm_eps
        return self._node("LayerNormalization", [total, *self._norm(start + "LayerNorm")], epsilon=eps)

    def _relative(self) -> str:
        """MPNet's bias of the attention by the distance of two tokens, for the lengths of a call; else none."""
        name = "encoder.relative_attention_bias.weight"
        if self._config.kind != "mpnet":
            return ""
        longest = self._config.max_position_embeddings
        buckets = distance_buckets(longest, self._config.relative_attention_num_buckets)
        table = read(self._weights[self._prefix + name])[buckets].T  # [heads, 2·longest - 1]
        shape = self._node("Shape", ["pad"], start=1)
        length = self._node("Squeeze", [shape])
        zero, one = (self._constant(f"i{each}", np.array(each, np.int64)) for each in (0, 1))
        steps = self._node("Range", [zero, length, one])
        column = self._node("Unsqueeze", [steps, self._constant("axis1", np.array([1]))])
        apart = self._node("Sub", [steps, column])
        moved = self._node("Add", [apart, self._constant("middle", np.array([longest - 1]))])
        found = self._node("Gather", [self._constant("distances", np.ascontiguousarray(table, "<f4")), moved], axis=1)
        return self._node("Unsqueeze", [found, self._constant("axis0", np.array([0]))])

    def _scores(self, hidden: str) -> str:
        """The head of a model that classifies, on each first token."""
        x, kind = self._node("Gather", [hidden, "first"]), self._config.kind
        if kind == "bert":
            dense, act, out = f"{self._prefix}pooler.dense", "Tanh", "classifier"
        elif kind == "distilbert":
            dense, act, out = "pre_classifier", "Relu", "classifier"
        else:
            dense, act, out = "classifier.dense", "Tanh", "classifier.out_proj"
        inner = self._node(act, [self._linear(x, dense, whole=True)])
        return self._linear(inner, out, whole=True)

    def _active(self, kind: str, x: str, name: str) -> str:
        weight, bias = self._weight(name + ".weight"), self._weight(name + ".bias")
        if kind == "gelu":
            return self._node("BiasGelu", [self._node("Gemm", [x, weight], transB=1), bias], _MS)
        if kind in ("gelu_new", "gelu_pytorch_tanh", "gelu_fast"):
            return self._node("FastGelu", [self._node("Gemm", [x, weight], transB=1), bias], _MS)
        if kind == "relu":
            return self._node("Relu", [self._linear(x, name)])
        raise BadPackage(f"the activation '{kind[:60]}' is none of gelu, gelu_new and relu: {ELSE}")

    def _add_norm(self, x: str, dense: str, skip: str, norm: str, eps: float) -> str:
        product = self._node("Gemm", [x, self._weight(dense + ".weight")], transB=1)
        given = [product, skip, *self._norm(norm), self._weight(dense + ".bias")]
        return self._node("SkipLayerNormalization", given, _MS, epsilon=eps)

    def _norm(self, name: str) -> list[str]:
        old = self._prefix + name + ".gamma" in self._weights
        return [self._weight(f"{name}.{each}") for each in (("gamma", "beta") if old else ("weight", "bias"))]

    def _linear(self, x: str, name: str, *, whole: bool = False) -> str:
        names = (self._weight(f"{name}.{each}", whole=whole) for each in ("weight", "bias"))
        return self._node("Gemm", [x, *names], transB=1)

    def _weight(self, name: str, *, whole: bool = False) -> str:
        """A tensor of the safetensors files, cast to FP32 where it is none."""
        name = name if whole else self._prefix + name
        if name in self._tensors:
            return name if self._weights[name].datatype == "F32" else f"{name}:f32"
        stored = self._weights.get(name)
        if stored is None or stored.datatype not in _TORCH_TYPES:
            kind = "none" if stored is None else f"one of {stored.datatype}"
            raise BadPackage(f"the weights should have a tensor {name} of floats and have {kind}")
        tensor = self._onnx.TensorProto(name=name, data_type=_TORCH_TYPES[stored.datatype], dims=stored.shape)
        tensor.data_location = self._onnx.TensorProto.EXTERNAL
        about = {"location": stored.file.name, "offset": stored.start, "length": stored.end - stored.start}
        for key, value in about.items():
            tensor.external_data.add(key=key, value=str(value))
        self._tensors[name] = tensor
        return name if stored.datatype == "F32" else self._node("Cast", [name], output=f"{name}:f32", to=1)

    def _constant(self, name: str, array: Any) -> str:
        self._tensors[name] = self._onnx.numpy_helper.from_array(array, name)
        return name

    def _node(self, kind: str, inputs: list[str], domain: str = "", output: str = "", **attributes: Any) -> str:
        output = output or f"{kind}{len(self._nodes)}"
        while inputs and not inputs[-1]:
            inputs = inputs[:-1]
        self._nodes.append(self._onnx.helper.make_node(kind, inputs, [output], domain=domain, **attributes))
        return output


def distance_buckets(longest: int, buckets: int) -> Any:
    """The bucket of each distance from -(longest - 1) to longest - 1 of a key from its query: half of them for each
    direction, exact while small, and by logarithm up to 128."""
    apart = np.arange(-(longest - 1), longest)
    half = buckets // 2
    exact = half // 2
    size = np.abs(apart)
    steps = np.log(np.maximum(size, 1).astype(np.float32) / exact) / np.log(128 / exact)
    large = exact + (steps * (half - exact)).astype(np.int64)
    return np.where(apart > 0, half, 0) + np.where(size < exact, size, np.minimum(large, half - 1))
