"""Layers with weights, and windows that move over an image."""

from collections.abc import Sequence

import numpy as np

from argosy.embedded.nets.graph import Network, Operator
from argosy.embedded.nets.operators import OPERATORS, Emit, Writer, literal, nest, place, strides
from argosy.spec.errors import InvalidArgument
from argosy.spec.tensor import Array

WINDOW_MOST = 32767


def gemm(network: Network, op: Operator) -> tuple[Array, Array | None, int] | None:
    """Weights as [n][k], the bias, and how many rows of k the input has; None where the weights are computed."""
    weights = network.constant(op.input(1))
    if weights is None or weights.ndim != 2 or op.attributes.get("transA"):
        return None
    if op.kind == "MatMul" or not op.attributes.get("transB"):
        weights = weights.T
    bias = None
    if op.kind == "Gemm":
        weights = (
            weights * np.float32(op.attributes.get("alpha", 1.0)) if op.attributes.get("alpha", 1.0) != 1 else weights
        )
        if op.input(2):
            bias = network.constant(op.input(2))
            if bias is None:
                return None
            bias = np.broadcast_to(bias, (1, weights.shape[0])) if bias.size in (1, weights.shape[0]) else bias
            if bias.size != weights.shape[0]:
                return None
            bias = bias.reshape(-1) * np.float32(op.attributes.get("beta", 1.0))
    return weights, bias, network.tensors[op.input(0)].size // weights.shape[1]


def _gemm(writer: Writer, op: Operator) -> None:
    x, y = writer.pointer(op.input(0)), writer.pointer(op.outputs[0])
    if (found := gemm(writer.network, op)) is None:
        _product(writer, op)
        return
    weights, bias, rows = found
    n, k = weights.shape
    b = "0" if bias is None else writer.constant(bias.astype(np.float32))
    w = writer.constant(np.ascontiguousarray(weights, np.float32))
    writer.line(f"{writer.use('gemm')}({x}, {w}, {b}, {y}, {rows}, {n}, {k});")


def _product(writer: Writer, op: Operator) -> None:
    """Of two computed matrices, or of stacks of them."""
    tensors = writer.network.tensors
    a, b, out = (tensors[name] for name in (*op.inputs[:2], op.outputs[0]))
    if op.kind == "Gemm" or len(a.shape) < 2 or len(b.shape) < 2:
        raise InvalidArgument(f"{op.kind} with computed weights of the shapes {a.shape} and {b.shape} cannot become C")
    steps_a, steps_b = _stack(a.shape, out.shape), _stack(b.shape, out.shape)
    k, last = a.shape[-1], len(out.shape) - 1
    row = f"i{last - 1}" if out.shape[-2] != 1 else "0"
    column = f"i{last}" if out.shape[-1] != 1 else "0"
    x = f"{writer.pointer(op.input(0))}[{place(out.shape[:-2], steps_a)} + {row} * {k} + j]"
    w = f"{writer.pointer(op.input(1))}[{place(out.shape[:-2], steps_b)} + j * {b.shape[-1]} + {column}]"
    y = f"{writer.pointer(op.outputs[0])}[{place(out.shape, strides(out.shape))}]"
    body = f"{{ float sum = 0.0f; for (int32_t j = 0; j < {k}; j++) sum += {x} * {w}; {y} = sum; }}"
    writer.line(nest(out.shape, body).removesuffix(";"))


def _stack(shape: Sequence[int], out: Sequence[int]) -> list[int]:
    """Strides of the axes before the matrix, 0 where it is the same for all."""
    padded = [1] * (len(out) - len(shape)) + list(shape)
    return [0 if length == 1 else step for length, step in zip(padded[:-2], strides(padded)[:-2], strict=True)]


def window(network: Network, op: Operator, kernel: Sequence[int], groups: int = 1) -> tuple[int, ...]:
    """The fields of `net_window`; one axis is an image of the height 1."""
    given, out = network.tensors[op.input(0)].shape, network.tensors[op.outputs[0]].shape
    axes = len(given) - 2
    if axes not in (1, 2) or given[0] != 1:
        raise InvalidArgument(f"{op.kind} over {given} cannot become C: one row with one or two axes can")
    ones = [1] * axes
    steps, dilations = op.attributes.get("strides", ones), op.attributes.get("dilations", ones)
    pads = list(op.attributes.get("pads", [0] * 2 * axes))
    if (auto := op.attributes.get("auto_pad", "NOTSET")) not in ("NOTSET", "VALID"):
        for at in range(axes):
            whole = max((out[2 + at] - 1) * steps[at] + (kernel[at] - 1) * dilations[at] + 1 - given[2 + at], 0)
            pads[at] = whole // 2 if auto == "SAME_UPPER" else whole - whole // 2
            pads[axes + at] = whole - pads[at]
    if axes == 1:
        h, w, oh, ow = 1, given[2], 1, out[2]
        spatial = (1, kernel[0], 1, steps[0], 1, dilations[0], 0, pads[0], 0, pads[1])
    else:
        h, w, oh, ow = given[2], given[3], out[2], out[3]
        spatial = (*kernel, *steps, *dilations, *pads)
    fields = (given[1], h, w, out[1], oh, ow, *spatial, groups)
    if max(fields) > WINDOW_MOST:
        raise InvalidArgument(f"{op.kind} over {given} is too large for C: an axis may have up to {WINDOW_MOST}")
    return tuple(int(each) for each in fields)


def in_c(fields: Sequence[int]) -> str:
    """A window as an argument."""
    return f"&(const net_window){{{', '.join(map(str, fields))}}}"


def _conv(writer: Writer, op: Operator) -> None:
    weights = writer.network.constant(op.input(1))
    bias = writer.network.constant(op.input(2)) if op.input(2) else None
    if weights is None or (bias is None and op.input(2)):
        raise InvalidArgument("Conv with computed weights cannot become C")
    fields = window(writer.network, op, weights.shape[2:], op.attributes.get("group", 1))
    b = "0" if bias is None else writer.constant(bias.astype(np.float32))
    w = writer.constant(weights.astype(np.float32))
    call = f"{writer.use('conv')}({writer.pointer(op.input(0))}, {w}, {b}, {writer.pointer(op.outputs[0])}"
    writer.line(f"{call}, {in_c(fields)});")


def _pool(writer: Writer, op: Operator) -> None:
    if any(op.outputs[1:]):
        raise InvalidArgument("MaxPool that gives the places as well cannot become C")
    kind = 0 if op.kind == "MaxPool" else 2 if op.attributes.get("count_include_pad") else 1
    fields = in_c(window(writer.network, op, op.attributes["kernel_shape"]))
    call = f"{writer.use('pool')}({writer.pointer(op.input(0))}, {writer.pointer(op.outputs[0])}"
    writer.line(f"{call}, {fields}, {kind});")


def _normalize(writer: Writer, op: Operator) -> None:
    """BatchNormalization, as a factor and a summand of each channel."""
    values = [writer.network.constant(name) for name in op.inputs[1:5]]
    if any(each is None for each in values) or op.attributes.get("training_mode"):
        raise InvalidArgument("BatchNormalization in training cannot become C")
    scale, bias, mean, variance = (np.asarray(each, np.float64) for each in values)
    factor = scale / np.sqrt(variance + op.attributes.get("epsilon", 1e-5))
    a, b = (writer.constant(each.astype(np.float32)) for each in (factor, bias - mean * factor))
    shape = writer.network.tensors[op.input(0)].shape
    at, channel = place(shape, strides(shape)), "i1" if len(shape) > 1 and shape[1] != 1 else "0"
    x, y = writer.pointer(op.input(0)), writer.pointer(op.outputs[0])
    writer.line(nest(shape, f"{y}[{at}] = {x}[{at}] * {a}[{channel}] + {b}[{channel}]"))


def _layer_norm(writer: Writer, op: Operator) -> None:
    """LayerNormalization over the last axes."""
    scale, bias = (writer.network.constant(name) for name in (*op.inputs[1:3], *("",) * (3 - len(op.inputs))))
    if scale is None or (bias is None and op.input(2)) or any(op.outputs[1:]):
        raise InvalidArgument("LayerNormalization with computed weights, or that gives its mean, cannot become C")
    shape = writer.network.tensors[op.input(0)].shape
    inner = int(np.prod(shape[op.attributes.get("axis", -1) % len(shape) :], dtype=np.int64))
    outer = writer.network.tensors[op.input(0)].size // inner
    a = writer.constant(np.ascontiguousarray(np.broadcast_to(scale.reshape(-1), inner), np.float32))
    b = "" if bias is None else f" + {writer.constant(np.ascontiguousarray(bias.reshape(-1), np.float32))}[j]"
    x, y = f"{writer.pointer(op.input(0))}[i0 * {inner} + j]", f"{writer.pointer(op.outputs[0])}[i0 * {inner} + j]"
    all_ = f"for (j = 0; j < {inner}; j++)"
    writer.line(
        f"for (int32_t i0 = 0; i0 < {outer}; i0++) {{ int32_t j; float mean = 0.0f, spread = 0.0f; "
        f"{all_} mean += {x}; mean /= {inner}.0f; {all_} spread += ({x} - mean) * ({x} - mean); "
        f"spread = {writer.use('sqrt')}(spread / {inner}.0f + {literal(op.attributes.get('epsilon', 1e-5))}); "
        f"{all_} {y} = ({x} - mean) / spread * {a}[j]{b}; }}"
    )


def _scaler(writer: Writer, op: Operator) -> None:
    """(x - offset) * scale, for each column."""
    size = writer.network.tensors[op.outputs[0]].size
    offset = np.broadcast_to(np.asarray(op.attributes.get("offset", (0.0,)), np.float32), size)
    scale = np.broadcast_to(np.asarray(op.attributes.get("scale", (1.0,)), np.float32), size)
    a, b = writer.constant(offset), writer.constant(scale)
    x, y = writer.pointer(op.input(0)), writer.pointer(op.outputs[0])
    at = "i0" if size > 1 else "0"
    writer.line(nest([size], f"{y}[{at}] = ({x}[{at}] - {a}[{at}]) * {b}[{at}]"))


def _normalizer(writer: Writer, op: Operator) -> None:
    size, norm = writer.network.tensors[op.outputs[0]].size, op.attributes.get("norm", "MAX")
    x, y = writer.pointer(op.input(0)), writer.pointer(op.outputs[0])
    step, end = {
        "MAX": (f"{{ float a = {x}[j] < 0.0f ? -{x}[j] : {x}[j]; if (a > sum) sum = a; }}", "sum"),
        "L1": (f"sum += {x}[j] < 0.0f ? -{x}[j] : {x}[j];", "sum"),
        "L2": (f"sum += {x}[j] * {x}[j];", "net_sqrt(sum)"),
    }[norm]
    if norm == "L2":
        writer.use("sqrt")
    writer.line(
        f"{{ float sum = 0.0f; int32_t j; for (j = 0; j < {size}; j++) {step} sum = {end}; "
        f"for (j = 0; j < {size}; j++) {y}[j] = sum != 0.0f ? {x}[j] / sum : {x}[j]; }}"
    )


def _linear(writer: Writer, op: Operator) -> None:
    """LinearClassifier and LinearRegressor of ai.onnx.ml."""
    *labels, scores = op.outputs
    weights = np.asarray(op.attributes["coefficients"], np.float32)
    n = writer.network.tensors[scores].size
    k = writer.network.tensors[op.input(0)].size
    rows = weights.size // k
    bias = np.asarray(op.attributes.get("intercepts", (0.0,) * rows), np.float32)
    post = op.attributes.get("post_transform", "NONE")
    if rows != n or post not in ("NONE", "LOGISTIC", "SOFTMAX"):
        raise InvalidArgument(f"{op.kind} with {rows} rows of weights for {n} scores and {post} cannot become C")
    w, b = writer.constant(weights.reshape(rows, k)), writer.constant(bias)
    x, y = writer.pointer(op.input(0)), writer.pointer(scores)
    writer.line(f"{writer.use('gemm')}({x}, {w}, {b}, {y}, 1, {n}, {k});")
    if labels and labels[0]:
        label = writer.pointer(labels[0])
        known = op.attributes.get("classlabels_ints", ())
        codes = (
            "best"
            if not known or writer.network.tensors[labels[0]].labels
            else f"{writer.constant(np.asarray(known, np.int32))}[best]"
        )
        writer.line(
            f"{{ int32_t best = 0; for (int32_t j = 1; j < {n}; j++) if ({y}[j] > {y}[best]) best = j; "
            f"{label}[0] = {codes}; }}"
        )
    if post == "LOGISTIC":
        writer.use("sigmoid")
        writer.line(f"for (int32_t j = 0; j < {n}; j++) {y}[j] = net_sigmoid({y}[j]);")
    elif post == "SOFTMAX":
        writer.use("exp")
        writer.line(
            f"{{ int32_t j; float most = {y}[0], total = 0.0f; for (j = 1; j < {n}; j++) "
            f"if ({y}[j] > most) most = {y}[j]; for (j = 0; j < {n}; j++) total += {y}[j] = net_exp({y}[j] - most); "
            f"for (j = 0; j < {n}; j++) {y}[j] /= total; }}"
        )


LAYERS: dict[str, Emit] = {
    **OPERATORS,
    **dict.fromkeys(("Gemm", "MatMul"), _gemm),
    **dict.fromkeys(("MaxPool", "AveragePool"), _pool),
    **dict.fromkeys(("LinearClassifier", "LinearRegressor"), _linear),
    "Conv": _conv,
    "BatchNormalization": _normalize,
    "LayerNormalization": _layer_norm,
    "Scaler": _scaler,
    "Normalizer": _normalizer,
}
