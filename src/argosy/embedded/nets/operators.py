"""Each operator as C: loops over fixed shapes, or a call of a function of `runtime.c`."""

from collections.abc import Callable, Mapping, Sequence
from typing import Protocol

import numpy as np

from argosy.embedded.code import number as exact
from argosy.embedded.nets.graph import Network, Operator, Tensor
from argosy.spec.errors import InvalidArgument
from argosy.spec.tensor import Array


class Writer(Protocol):
    """What operators write to."""

    network: Network

    def pointer(self, name: str) -> str: ...
    def constant(self, values: Array) -> str: ...
    def use(self, function: str) -> str: ...
    def line(self, text: str) -> None: ...


Emit = Callable[[Writer, Operator], None]

UNARY: Mapping[str, tuple[str, str]] = {
    "Relu": ("{x} > 0.0f ? {x} : 0.0f", ""),
    "LeakyRelu": ("{x} < 0.0f ? {x} * {alpha} : {x}", ""),
    "Elu": ("{x} < 0.0f ? {alpha} * (net_exp({x}) - 1.0f) : {x}", "exp"),
    "Selu": ("{gamma} * ({x} < 0.0f ? {alpha} * (net_exp({x}) - 1.0f) : {x})", "exp"),
    "Sigmoid": ("net_sigmoid({x})", "sigmoid"),
    "HardSigmoid": (
        "{alpha} * {x} + {beta} < 0.0f ? 0.0f : {alpha} * {x} + {beta} > 1.0f ? 1.0f : {alpha} * {x} + {beta}",
        "",
    ),
    "HardSwish": ("{x} <= -3.0f ? 0.0f : {x} >= 3.0f ? {x} : {x} * ({x} + 3.0f) / 6.0f", ""),
    "Tanh": ("net_tanh({x})", "tanh"),
    "Softplus": ("{x} > 0.0f ? {x} + net_log(1.0f + net_exp(-{x})) : net_log(1.0f + net_exp({x}))", "log exp"),
    "Softsign": ("{x} / (1.0f + ({x} < 0.0f ? -{x} : {x}))", ""),
    "Erf": ("net_erf({x})", "erf"),
    "Exp": ("net_exp({x})", "exp"),
    "Log": ("net_log({x})", "log"),
    "Sqrt": ("net_sqrt({x})", "sqrt"),
    "Neg": ("-{x}", ""),
    "Abs": ("{x} < 0.0f ? -{x} : {x}", ""),
    "Reciprocal": ("1.0f / {x}", ""),
    "Gelu": ("0.5f * {x} * (1.0f + net_erf({x} * 0x1.6a09e6p-1f))", "erf"),
}
"""The expression, and the functions in it."""

DEFAULTS: Mapping[str, Mapping[str, float]] = {
    "LeakyRelu": {"alpha": 0.01},
    "Elu": {"alpha": 1.0},
    "Selu": {"alpha": 1.6732632, "gamma": 1.0507009},
    "HardSigmoid": {"alpha": 0.2, "beta": 0.5},
}

BINARY: Mapping[str, str] = {
    "Add": "{a} + {b}",
    "Sub": "{a} - {b}",
    "Mul": "{a} * {b}",
    "Div": "{a} / {b}",
    "Min": "{a} < {b} ? {a} : {b}",
    "Max": "{a} > {b} ? {a} : {b}",
    "Pow": "net_pow({a}, {b})",
    "PRelu": "{a} < 0.0f ? {a} * {b} : {a}",
    "Equal": "{a} == {b}",
    "Less": "{a} < {b}",
    "Greater": "{a} > {b}",
    "And": "{a} && {b}",
    "Or": "{a} || {b}",
}

ALIASES = ("Identity", "Reshape", "Flatten", "Squeeze", "Unsqueeze", "Dropout")
"""The same values under another shape."""


def literal(value: float) -> str:
    """A float of C that is this float32."""
    return f"({exact(float(np.float32(value)))})"


def kind(tensor: Tensor) -> str:
    """Its type in C: quantized values are int8_t (unsigned ones less 128), labels and places int32_t."""
    if tensor.dtype.kind == "f":
        return "float"
    return "int8_t" if tensor.dtype.itemsize == 1 and tensor.dtype.kind in "iu" else "int32_t"


def nest(shape: Sequence[int], body: str) -> str:
    """Loops with the variables i0, i1, … around a statement."""
    heads = [f"for (int32_t i{at} = 0; i{at} < {length}; i{at}++)" for at, length in enumerate(shape) if length != 1]
    return " ".join([*heads, f"{body};"])


def place(shape: Sequence[int], strides: Sequence[int]) -> str:
    """The index of an element, in the variables of `nest(shape)`."""
    terms = [f"i{at} * {step}" if step != 1 else f"i{at}" for at, step in enumerate(strides) if step and shape[at] != 1]
    return " + ".join(terms) or "0"


def strides(shape: Sequence[int]) -> list[int]:
    """Elements from one to the next along each axis."""
    return [int(np.prod(shape[at + 1 :], dtype=np.int64)) for at in range(len(shape))]


def broadcast(shape: Sequence[int], to: Sequence[int]) -> list[int]:
    """Strides of a tensor that is spread over a larger shape."""
    padded = [1] * (len(to) - len(shape)) + list(shape)
    return [0 if length == 1 else step for length, step in zip(padded, strides(padded), strict=True)]


def axes_of(writer: Writer, op: Operator, rank: int) -> list[int]:
    """The axes of a reduction: an attribute, since opset 13 or 18 an input; none: all."""
    given = op.attributes.get("axes")
    if given is None and op.input(1):
        given = writer.network.constant(op.input(1))
        if given is None:
            raise InvalidArgument(f"{op.kind} with computed axes cannot become C")
    return sorted(int(axis) % rank for axis in given) if given is not None and len(given) else list(range(rank))


def _unary(writer: Writer, op: Operator) -> None:
    expression, functions = UNARY[op.kind]
    if op.kind == "Gelu" and op.attributes.get("approximate", "none") != "none":
        raise InvalidArgument("Gelu approximated by tanh cannot become C; export the model with the exact one")
    for each in functions.split():
        writer.use(each)
    x, y = writer.pointer(op.input(0)), writer.pointer(op.outputs[0])
    given = {name: literal(op.attributes.get(name, value)) for name, value in DEFAULTS.get(op.kind, {}).items()}
    size = writer.network.tensors[op.outputs[0]].size
    at = "i0" if size > 1 else "0"
    writer.line(nest([size], f"{y}[{at}] = {expression.format(x=f'{x}[{at}]', **given)}"))


def _binary(writer: Writer, op: Operator) -> None:
    if op.kind == "Pow":
        writer.use("pow")
    out = writer.network.tensors[op.outputs[0]]
    y, first = writer.pointer(op.outputs[0]), True
    left = op.input(0)
    for right in op.inputs[1:]:  # Min and Max take any number
        a = broadcast(writer.network.tensors[left].shape, out.shape)
        b = broadcast(writer.network.tensors[right].shape, out.shape)
        left_at = f"{writer.pointer(left)}[{place(out.shape, a)}]"
        right_at = f"{writer.pointer(right)}[{place(out.shape, b)}]"
        value = BINARY[op.kind].format(a=left_at, b=right_at)
        writer.line(nest(out.shape, f"{y}[{place(out.shape, strides(out.shape))}] = {value}"))
        left, first = op.outputs[0], False
    if first:
        _copy(writer, op)


def _where(writer: Writer, op: Operator) -> None:
    out = writer.network.tensors[op.outputs[0]]
    spread = [broadcast(writer.network.tensors[name].shape, out.shape) for name in op.inputs]
    which, yes, no = (
        f"{writer.pointer(name)}[{place(out.shape, steps)}]" for name, steps in zip(op.inputs, spread, strict=True)
    )
    to = f"{writer.pointer(op.outputs[0])}[{place(out.shape, strides(out.shape))}]"
    writer.line(nest(out.shape, f"{to} = {which} ? {yes} : {no}"))


def _copy(writer: Writer, op: Operator) -> None:
    out, given = writer.network.tensors[op.outputs[0]], writer.network.tensors[op.input(0)]
    y, x = writer.pointer(op.outputs[0]), writer.pointer(op.input(0))
    at = "i0" if out.size > 1 else "0"
    cast = f"({kind(out)})" if kind(out) != kind(given) else ""
    writer.line(nest([out.size], f"{y}[{at}] = {cast}{x}[{at}]"))


def _clip(writer: Writer, op: Operator) -> None:
    bounds: list[str] = []
    for number, (name, default) in enumerate((("min", -np.inf), ("max", np.inf)), 1):
        value = op.attributes.get(name, default)
        if op.input(number):
            found = writer.network.constant(op.input(number))
            if found is None:
                raise InvalidArgument("Clip between computed bounds cannot become C")
            value = found.item()
        bounds.append(literal(value))
    low, high = bounds
    size = writer.network.tensors[op.outputs[0]].size
    at = "i0" if size > 1 else "0"
    x, y = f"{writer.pointer(op.input(0))}[{at}]", f"{writer.pointer(op.outputs[0])}[{at}]"
    writer.line(nest([size], f"{y} = {x} < {low} ? {low} : {x} > {high} ? {high} : {x}"))


def _softmax(writer: Writer, op: Operator) -> None:
    tensor = writer.network.tensors[op.input(0)]
    axis = op.integer("axis", -1 if writer.network.opset >= 13 else 1) % max(len(tensor.shape), 1)
    length = tensor.shape[axis]
    inner = int(np.prod(tensor.shape[axis + 1 :], dtype=np.int64))
    if writer.network.opset < 13:  # all axes from this one on together
        length, inner = length * inner, 1
    outer = tensor.size // (length * inner)
    writer.use("exp")
    log = op.kind == "LogSoftmax"
    if log:
        writer.use("log")
    x, y = writer.pointer(op.input(0)), writer.pointer(op.outputs[0])
    at = f"i0 * {length * inner} + j * {inner} + i1"
    rest = f"{y}[AT] = {x}[AT] - most - total" if log else f"{y}[AT] = net_exp({x}[AT] - most) / total"
    writer.line(
        f"for (int32_t i0 = 0; i0 < {outer}; i0++) for (int32_t i1 = 0; i1 < {inner}; i1++) {{\n"
        f"    int32_t j;\n    float most = {x}[i0 * {length * inner} + i1], total = 0.0f;\n"
        f"    for (j = 1; j < {length}; j++) if ({x}[{at}] > most) most = {x}[{at}];\n"
        f"    for (j = 0; j < {length}; j++) total += net_exp({x}[{at}] - most);\n"
        + ("    total = net_log(total);\n" if log else "")
        + f"    for (j = 0; j < {length}; j++) {rest.replace('AT', at)};\n  }}"
    )


def _reduce(writer: Writer, op: Operator) -> None:
    given = writer.network.tensors[op.input(0)]
    axes = axes_of(writer, op, len(given.shape))
    if op.kind.startswith("Global"):
        axes = list(range(2, len(given.shape)))
    kept = [at for at in range(len(given.shape)) if at not in axes]
    steps = strides(given.shape)
    outer, inner = [given.shape[at] for at in kept], [given.shape[at] for at in axes]
    base = place(outer, [steps[at] for at in kept])
    offset = place(inner, [steps[at] for at in axes]).replace("i", "j")
    x, y = writer.pointer(op.input(0)), writer.pointer(op.outputs[0])
    many = int(np.prod(inner, dtype=np.int64))
    value = f"{x}[{base} + {offset}]"
    start, step, end = {
        "Max": (f"{x}[{base}]", f"if ({value} > sum) sum = {value};", "sum"),
        "Min": (f"{x}[{base}]", f"if ({value} < sum) sum = {value};", "sum"),
        "L2": ("0.0f", f"sum += {value} * {value};", f"{writer.use('sqrt')}(sum)" if op.kind == "ReduceL2" else ""),
        "Sum": ("0.0f", f"sum += {value};", "sum"),
        "Mean": ("0.0f", f"sum += {value};", f"sum / {literal(many)}"),
    }[op.kind.replace("Reduce", "").replace("Global", "").replace("AveragePool", "Mean").replace("MaxPool", "Max")]
    loops = " ".join(f"for (int32_t j{at} = 0; j{at} < {n}; j{at}++)" for at, n in enumerate(inner) if n != 1)
    body = f"{{ float sum = {start}; {loops} {step} {y}[{place(outer, strides(outer))}] = {end}; }}"
    writer.line(nest(outer, body).removesuffix(";"))


def _arg(writer: Writer, op: Operator) -> None:
    given = writer.network.tensors[op.input(0)]
    axis = op.integer("axis", 0) % len(given.shape)
    steps = strides(given.shape)
    outer = [length for at, length in enumerate(given.shape) if at != axis]
    base = place(outer, [step for at, step in enumerate(steps) if at != axis])
    x, y = writer.pointer(op.input(0)), writer.pointer(op.outputs[0])
    sign = (">=" if op.attributes.get("select_last_index") else ">") if op.kind == "ArgMax" else "<"
    body = (
        f"{{ int32_t best = 0; for (int32_t j = 1; j < {given.shape[axis]}; j++) "
        f"if ({x}[{base} + j * {steps[axis]}] {sign} {x}[{base} + best * {steps[axis]}]) best = j; "
        f"{y}[{place(outer, strides(outer))}] = best; }}"
    )
    writer.line(nest(outer, body).removesuffix(";"))


def _transpose(writer: Writer, op: Operator) -> None:
    given, out = writer.network.tensors[op.input(0)], writer.network.tensors[op.outputs[0]]
    order: tuple[int, ...] = op.attributes.get("perm", tuple(reversed(range(len(given.shape)))))
    steps = strides(given.shape)
    x, y = writer.pointer(op.input(0)), writer.pointer(op.outputs[0])
    writer.line(
        nest(
            out.shape,
            f"{y}[{place(out.shape, strides(out.shape))}] = {x}[{place(out.shape, [steps[at] for at in order])}]",
        )
    )


def _concat(writer: Writer, op: Operator) -> None:
    out = writer.network.tensors[op.outputs[0]]
    axis, start = op.integer("axis", 0) % len(out.shape), 0
    steps = strides(out.shape)
    for name in op.inputs:
        given = writer.network.tensors[name]
        to = place(given.shape, steps)
        writer.line(
            nest(
                given.shape,
                f"{writer.pointer(op.outputs[0])}[{start * steps[axis]} + {to}] = "
                f"{writer.pointer(name)}[{place(given.shape, strides(given.shape))}]",
            )
        )
        start += given.shape[axis]


def _pad(writer: Writer, op: Operator) -> None:
    given, out = writer.network.tensors[op.input(0)], writer.network.tensors[op.outputs[0]]
    pads = op.attributes.get("pads", writer.network.constant(op.input(1)) if len(op.inputs) > 1 else None)
    filler = writer.network.constant(op.input(2)) if op.input(2) else None
    filler = np.asarray(op.attributes.get("value", 0.0)) if len(op.inputs) < 3 else filler
    if op.attributes.get("mode", "constant") != "constant" or pads is None or filler is None or len(op.inputs) > 3:
        raise InvalidArgument("Pad cannot become C but with a constant value at constant places on all axes")
    steps = strides(out.shape)
    start = sum(int(before) * step for before, step in zip(pads, steps, strict=False))
    y = writer.pointer(op.outputs[0])
    writer.line(nest([out.size], f"{y}[i0] = {literal(float(np.asarray(filler).item()))}"))
    at = place(given.shape, strides(given.shape))
    writer.line(nest(given.shape, f"{y}[{start} + {place(given.shape, steps)}] = {writer.pointer(op.input(0))}[{at}]"))


def _slice(writer: Writer, op: Operator) -> None:
    given, out = writer.network.tensors[op.input(0)], writer.network.tensors[op.outputs[0]]
    chosen = [op.attributes.get(name) for name in ("starts", "ends", "axes", "steps")]
    for number, name in enumerate(op.inputs[1:]):
        found = writer.network.constant(name)
        if name and found is None:
            raise InvalidArgument("Slice at computed places cannot become C")
        chosen[number] = None if found is None else found.tolist()
    starts, _, axes, by = chosen
    steps, base = strides(given.shape), 0
    for number, start in enumerate(starts or ()):
        axis = (axes[number] if axes else number) % len(given.shape)
        step, length = by[number] if by else 1, given.shape[axis]
        first = max(0, min(start + length if start < 0 else start, length - (step < 0)))
        base += first * steps[axis]
        steps[axis] *= step
    to = f"{writer.pointer(op.outputs[0])}[{place(out.shape, strides(out.shape))}]"
    writer.line(nest(out.shape, f"{to} = {writer.pointer(op.input(0))}[{base} + {place(out.shape, steps)}]"))


def _split(writer: Writer, op: Operator) -> None:
    given, start = writer.network.tensors[op.input(0)], 0
    axis, steps = op.integer("axis", 0) % len(given.shape), strides(given.shape)
    for name in op.outputs:
        out = writer.network.tensors[name]
        to = f"{writer.pointer(name)}[{place(out.shape, strides(out.shape))}]"
        at = f"{start * steps[axis]} + {place(out.shape, steps)}"
        writer.line(nest(out.shape, f"{to} = {writer.pointer(op.input(0))}[{at}]"))
        start += out.shape[axis]


def _gather(writer: Writer, op: Operator) -> None:
    """Of a constant by a computed index (labels), or of a computed tensor at constant places."""
    given, index = (writer.network.tensors[name] for name in op.inputs[:2])
    out = writer.network.tensors[op.outputs[0]]
    x, y = writer.pointer(op.input(0)), writer.pointer(op.outputs[0])
    axis = op.integer("axis", 0 if op.kind == "Gather" else -1) % len(given.shape)
    outer, inner = given.shape[:axis], given.shape[axis + 1 :]
    steps = strides(given.shape)
    places = writer.constant(index.data.astype(np.int32)) if index.data is not None else writer.pointer(op.input(1))
    shape = [*outer, index.size, *inner]
    at = [f"i{number}" if length != 1 else "0" for number, length in enumerate(shape)]
    chosen = f"{places}[{at[len(outer)]}]"
    terms = [f"{v} * {s}" for v, s in zip(at[: len(outer)], steps, strict=False) if v != "0"]
    terms += [f"{chosen} * {steps[axis]}"]
    terms += [f"{v} * {s}" for v, s in zip(at[len(outer) + 1 :], steps[axis + 1 :], strict=True) if v != "0"]
    if out.size != int(np.prod(shape, dtype=np.int64)):
        raise InvalidArgument(f"{op.kind} of this shape cannot become C")
    writer.line(nest(shape, f"{y}[{place(shape, strides(shape))}] = {x}[{' + '.join(terms)}]"))


OPERATORS: dict[str, Emit] = {
    **dict.fromkeys(UNARY, _unary),
    **dict.fromkeys(BINARY, _binary),
    **dict.fromkeys(("ReduceMean", "ReduceSum", "ReduceMax", "ReduceMin", "ReduceL2"), _reduce),
    **dict.fromkeys(("GlobalAveragePool", "GlobalMaxPool"), _reduce),
    **dict.fromkeys(("ArgMax", "ArgMin"), _arg),
    **dict.fromkeys(("Softmax", "LogSoftmax"), _softmax),
    **dict.fromkeys(("Gather", "ArrayFeatureExtractor"), _gather),
    "Cast": _copy,
    "Clip": _clip,
    "Concat": _concat,
    "Pad": _pad,
    "Slice": _slice,
    "Split": _split,
    "Where": _where,
    "Transpose": _transpose,
}
