"""Layers of eight-bit integers, as static quantization writes them: DequantizeLinear, the layer, QuantizeLinear.

Where the three stand together the layer is computed in int32 and scaled once, as onnxruntime does; elsewhere values are
made floats and integers again where the graph says so.
"""

from collections import Counter, defaultdict

import msgspec
import numpy as np

from argosy.embedded.nets.graph import Network, Operator, Tensor
from argosy.embedded.nets.layers import LAYERS, in_c, window
from argosy.embedded.nets.operators import Emit, Writer, literal, nest, place, strides
from argosy.spec.errors import InvalidArgument
from argosy.spec.tensor import Array


class Scale(msgspec.Struct, frozen=True):
    """Of a quantized tensor: real = (stored - zero) * scale, in the int8_t that C has."""

    scale: Array
    zero: Array


def scale_of(network: Network, op: Operator) -> Scale:
    """That of a QuantizeLinear or DequantizeLinear. Raises InvalidArgument where it is computed."""
    scale = network.constant(op.input(1))
    zero = network.constant(op.input(2)) if op.input(2) else np.uint8(0)
    if scale is None or zero is None or np.asarray(zero).dtype.name not in ("int8", "uint8", "int32"):
        raise InvalidArgument(
            f"{op.kind} with computed scales, or of another type than int8 and uint8, cannot become C"
        )
    shift = 128 if np.asarray(zero).dtype == np.uint8 else 0
    return Scale(np.asarray(scale, np.float32).reshape(-1), np.asarray(zero, np.int32).reshape(-1) - shift)


def fuse(network: Network) -> list[Operator]:
    """The operators with those layers as one each, without what nothing reads any more."""
    makers = {name: op for op in network.operators for name in op.outputs}
    readers: defaultdict[str, list[Operator]] = defaultdict(list)
    for op in network.operators:
        for name in op.inputs:
            readers[name].append(op)
    found = list(network.operators)
    for op in network.operators:
        if op.kind in ("Conv", "Gemm", "MatMul") and (joined := _joined(network, op, makers, readers)):
            found[found.index(op)] = joined
    for op in found[:]:
        if op.kind == "DequantizeLinear" and (values := network.constant(op.input(0))) is not None:
            _fold(network, op, values)
            found.remove(op)
    while True:
        used = Counter(name for op in found for name in op.inputs) + Counter(network.outputs)
        # The layer that was joined gives what its QuantizeLinear gave.
        given = {name for op in found if op.kind.startswith("Integer") for name in op.outputs}
        kept = [
            op
            for op in found
            if any(used[name] for name in op.outputs)
            and (op.kind.startswith("Integer") or not given.intersection(op.outputs))
        ]
        if len(kept) == len(found):
            return kept
        found = kept


def _joined(
    network: Network, op: Operator, makers: dict[str, Operator], readers: dict[str, list[Operator]]
) -> Operator | None:
    given, weighing = makers.get(op.input(0)), makers.get(op.input(1))
    if not (given and weighing and given.kind == weighing.kind == "DequantizeLinear"):
        return None
    stored = network.constant(weighing.inputs[0])
    if stored is None or network.constant(given.inputs[0]) is not None or op.attributes.get("alpha", 1.0) != 1.0:
        return None
    last, chain = op, readers[op.outputs[0]]
    while len(chain) == 1 and chain[0].kind == "Relu" and last is op:
        last, chain = chain[0], readers[chain[0].outputs[0]]
    if len(chain) != 1 or chain[0].kind != "QuantizeLinear" or op.outputs[0] in network.outputs:
        return None
    x, w, y = (scale_of(network, each) for each in (given, weighing, chain[0]))
    if x.scale.size != 1 or y.scale.size != 1:
        return None
    shift = 128 if stored.dtype == np.uint8 else 0
    along = 0 if op.kind == "Conv" or op.attributes.get("transB") else 1
    zero = w.zero.reshape([-1 if at == along else 1 for at in range(stored.ndim)]) if w.zero.size > 1 else w.zero
    weights = stored.astype(np.int32) - shift - zero
    if np.abs(weights).max(initial=0) > 127 + (weights.min(initial=0) == -128):
        return None
    bias = None
    if op.input(2):
        maker = makers.get(op.input(2))
        real = network.constant(op.input(2))
        if maker is not None and maker.kind == "DequantizeLinear":
            bias = network.constant(maker.inputs[0])
        elif real is not None:
            bias = np.rint(real.reshape(-1).astype(np.float64) / (x.scale[0] * w.scale))
        if bias is None or np.abs(bias).max(initial=0) >= 2**30:
            return None
    attributes = {
        **op.attributes,
        "layer": op,
        "weights": weights if op.kind == "Conv" else weights if op.attributes.get("transB") else weights.T,
        "bias": bias,
        "factor": np.asarray(x.scale[0] * w.scale / y.scale[0], np.float32),
        "zero": int(x.zero[0]),
        "out": int(y.zero[0]),
        "low": max(int(y.zero[0]), -128) if last is not op else -128,
    }
    return Operator(
        kind=f"Integer{op.kind}", inputs=(given.inputs[0],), outputs=(chain[0].outputs[0],), attributes=attributes
    )


def _fold(network: Network, op: Operator, values: Array) -> None:
    """Stored weights that are read as floats."""
    scale = scale_of(network, op)
    shift = 128 if values.dtype == np.uint8 else 0
    axis = op.attributes.get("axis", 1) if scale.scale.size > 1 else 0
    shape = (
        [-1 if at == axis % max(values.ndim, 1) else 1 for at in range(values.ndim)] if scale.scale.size > 1 else [1]
    )
    zero = np.broadcast_to(scale.zero, scale.scale.shape).reshape(shape)
    real = (values.astype(np.float32) - shift - zero) * scale.scale.reshape(shape)
    real = real.astype(np.float32).reshape(values.shape)
    name = op.outputs[0]
    network.tensors[name] = Tensor(name=name, shape=real.shape, dtype=real.dtype, data=real)


def _integer(writer: Writer, op: Operator) -> None:
    given = op.attributes
    layer: Operator = given["layer"]
    weights = np.ascontiguousarray(given["weights"])
    n = weights.shape[0]
    w = writer.constant(weights.astype(np.int8))
    b = "0" if given["bias"] is None else writer.constant(given["bias"].astype(np.int32))
    factor = writer.constant(np.ascontiguousarray(np.broadcast_to(given["factor"], n), np.float32))
    x, y = writer.pointer(op.input(0)), writer.pointer(op.outputs[0])
    if layer.kind == "Conv":
        shape, call = in_c(window(writer.network, layer, weights.shape[2:], given.get("group", 1))), "qconv"
    else:
        k = weights.shape[1]
        shape, call = f"{writer.network.tensors[op.input(0)].size // k}, {n}, {k}", "qgemm"
    tail = f"{given['zero']}, {given['out']}, {given['low']}, 127"
    writer.line(f"{writer.use(call)}({x}, {w}, {b}, {factor}, {y}, {shape}, {tail});")


def _convert(writer: Writer, op: Operator) -> None:
    """QuantizeLinear or DequantizeLinear by itself."""
    scale = scale_of(writer.network, op)
    shape = writer.network.tensors[op.input(0)].shape
    at = place(shape, strides(shape))
    x, y = f"{writer.pointer(op.input(0))}[{at}]", f"{writer.pointer(op.outputs[0])}[{at}]"
    factor, zero = literal(scale.scale[0]), str(int(scale.zero[0]))
    if scale.scale.size > 1:
        axis = op.attributes.get("axis", 1) % len(shape)
        factor = f"{writer.constant(scale.scale)}[i{axis}]"
        zero = f"{writer.constant(np.broadcast_to(scale.zero, scale.scale.shape).astype(np.int32))}[i{axis}]"
    if op.kind == "DequantizeLinear":
        writer.line(nest(shape, f"{y} = (float)({x} - {zero}) * {factor}"))
        return
    bounded = "(int8_t)(q < -128 ? -128 : q > 127 ? 127 : q)"
    body = f"{{ int32_t q = {writer.use('round')}({x} / {factor}) + {zero}; {y} = {bounded}; }}"
    writer.line(nest(shape, body).removesuffix(";"))


EMIT: dict[str, Emit] = {
    **LAYERS,
    **dict.fromkeys(("IntegerConv", "IntegerGemm", "IntegerMatMul"), _integer),
    **dict.fromkeys(("QuantizeLinear", "DequantizeLinear"), _convert),
}
