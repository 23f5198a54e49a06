"""A package whose weights are a small network of ONNX → its C, checked on its golden examples."""

import re
from collections.abc import Iterable
from importlib.resources import files
from typing import NamedTuple

import msgspec
import numpy as np

from argosy.embedded import verify
from argosy.embedded.code import Code, Port, Sizes, array, as_identifier, header, prototype
from argosy.embedded.nets.graph import Network, Tensor, read
from argosy.embedded.nets.operators import ALIASES, kind, literal
from argosy.embedded.nets.quantized import EMIT, fuse
from argosy.embedded.selftest import Vectors, vectors
from argosy.packaging.package import Package
from argosy.spec.errors import Unsupported
from argosy.spec.tensor import Array

BYTES = {"float": 4, "int8_t": 1, "int32_t": 4}
HELD = "NET_BUFFER"
"""What buffers are: static, or what the one who compiles says (`-DNET_BUFFER='static _Thread_local'`)."""
HELD_AS = f"#ifndef {HELD}\n#define {HELD} static\n#endif\n\n"
LOOP, CALL, WINDOW = 35, 10, 34
"""Bytes of Thumb-2 (-Os) that each takes in the body, measured over the operators: about."""


class Lifetime(NamedTuple):
    """A buffer of so many bytes, written by the operator `first`, last read by the operator `last`."""

    name: str
    size: int
    first: int
    last: int


def plan(lifetimes: Iterable[Lifetime], align: int = 4) -> tuple[dict[str, int], int]:
    """Offsets by name, and the size of the whole in bytes. Two that live at once share no byte.

    Largest first, each at the lowest place that is free while it lives (greedy by size: Pisarchyk and Lee, 2020,
    "Efficient Memory Management for Deep Neural Net Inference", arXiv 2001.03288).
    """
    placed: list[tuple[Lifetime, int]] = []
    for each in sorted(lifetimes, key=lambda one: (-one.size, one.first, one.name)):
        at = 0
        for other, offset in sorted(placed, key=lambda one: one[1]):
            if other.first <= each.last and each.first <= other.last:
                if at + each.size <= offset:
                    break
                at = max(at, -(-(offset + other.size) // align) * align)
        placed.append((each, at))
    return {each.name: at for each, at in placed}, max((at + each.size for each, at in placed), default=0)


def net(package: Package, name: str, model: str) -> tuple[Code, Vectors, float] | None:
    """The C of a network; None where the weights are none. Raises Unsupported, which names the operators that have no
    C, and InvalidArgument for free axes."""
    if package.manifest.engine != "onnx":
        return None
    network = read(package.weights)
    _labels(network)
    network.operators = fuse(network)
    if missing := sorted({op.kind for op in network.operators} - EMIT.keys() - set(ALIASES)):
        raise Unsupported(f"{model} cannot be written in C: there is no C for its operators {', '.join(missing)}")
    inputs = tuple(_port(network, each) for each in network.inputs)
    outputs = tuple(_port(network, each) for each in network.outputs)
    source = Body(network, {p.tensor: p.name for p in (*inputs, *outputs)})
    body = _refusals(package, inputs) + source.write()
    functions, flash = _functions(source.used)
    loops, calls, windows = (len(re.findall(pattern, body)) for pattern in (r"for \(", r"net_\w+\(", "net_window"))
    sizes = Sizes(
        flash=source.constants + flash + LOOP * loops + CALL * calls + WINDOW * windows,
        ram=source.ram,
        stack=160,
        operations=_operations(network),
    )
    head = prototype(name, inputs, outputs)
    held = HELD_AS if source.ram else ""
    about = f"one row through the network of {model}"
    code = Code(
        name=name,
        model=model,
        source=f'#include "{name}.h"\n\n{held}{functions}{"".join(source.tables)}\n{head} {{\n{body}  return 0;\n}}\n',
        header=header(name, about, inputs, outputs, ()),
        inputs=inputs,
        outputs=outputs,
        estimate=sizes,
    )
    wanted = vectors(package, inputs, outputs)
    if (found := verify.difference(code, wanted)) is None:
        note = "The golden examples were not replayed: no gcc is installed. The self-test replays them."
        return msgspec.structs.replace(code, notes=(note,)), wanted, 0.0
    return code, wanted, found


def _refusals(package: Package, inputs: tuple[Port, ...]) -> str:
    """Missing values, where the signature says that the model refuses them."""
    refusing = {
        spec.name for spec in package.manifest.signature.inputs if spec.domain is not None and not any(spec.domain.gaps)
    }
    return "".join(
        f"  for (int32_t i = 0; i < {port.size}; i++) if ({port.name}[i] != {port.name}[i]) return 1;\n"
        for port in inputs
        if port.kind == "float" and port.tensor in refusing
    )


def _port(network: Network, name: str) -> Port:
    tensor = network.tensors[name]
    if kind(tensor) == "int8_t":
        raise Unsupported(f"'{name}' is {tensor.dtype}: C takes float and int32_t; leave the scaling in the model")
    place = (*network.inputs, *network.outputs).index(name)
    return Port(
        name=as_identifier(name, f"port_{place}"),
        tensors=(name,),
        size=tensor.size,
        kind="float" if kind(tensor) == "float" else "int32_t",
        labels=tensor.labels,
    )


def _labels(network: Network) -> None:
    """Texts of labels as numbers: what is chosen from a constant of texts, and what comes of it."""
    for op in network.operators:
        given = network.tensors.get(op.inputs[0]) if op.inputs else None
        texts: tuple[str, ...] = ()
        if op.kind == "LinearClassifier" and op.attributes.get("classlabels_strings"):
            texts = op.attributes["classlabels_strings"]
        elif given is not None and given.dtype.kind in "OSU" and given.data is not None:
            texts = tuple(v.decode(errors="replace") if isinstance(v, bytes) else str(v) for v in given.data.ravel())
            number: Array = np.arange(len(texts), dtype=np.int64).reshape(given.shape)
            network.tensors[given.name] = Tensor(
                name=given.name, shape=given.shape, dtype=number.dtype, data=number, labels=texts
            )
        elif given is not None and given.labels:
            texts = given.labels
        if texts:
            network.tensors[op.outputs[0]].labels = texts
            network.tensors[op.outputs[0]].dtype = np.dtype(np.int64)


def _operations(network: Network) -> int:
    """Multiplications and additions of a row, those of weights counted by what they make."""
    total = 0
    for op in network.operators:
        layer = op.attributes.get("layer", op)
        made = network.tensors[op.outputs[0]].size
        weighed = network.tensors.get(layer.input(1)) if layer.kind in ("Conv", "Gemm", "MatMul") else None
        if weighed is None:
            total += made
        elif layer.kind == "Conv":
            total += 2 * made * int(np.prod(weighed.shape[1:]))
        else:
            total += 2 * made * weighed.shape[-1 if layer.attributes.get("transB") else -2]
    return total


def _functions(used: set[str]) -> tuple[str, int]:
    """Those functions of `runtime.c`, with what they call, in its order; their bytes of Thumb-2."""
    parts = files("argosy.embedded.nets").joinpath("runtime.c").read_text().split("//: ")[1:]
    needs: dict[str, tuple[int, str, str]] = {}
    for part in parts:
        head, _, text = part.partition("\n")
        size, name, *rest = head.split(maxsplit=2)
        needs[name] = (int(size), rest[0].strip("()") if rest else "", text)
    wanted = set[str]()
    queue = list(used)
    while queue:
        if (each := queue.pop()) not in wanted:
            wanted.add(each)
            queue += needs[each][1].split()
    return "".join(f"{needs[name][2]}\n" for name in needs if name in wanted), sum(needs[name][0] for name in wanted)


class Body:
    """The body of the function, as the operators write it. `names`: those of ports in C."""

    def __init__(self, network: Network, names: dict[str, str]) -> None:
        self.network, self._names = network, names
        self.used: set[str] = set()
        self.tables: list[str] = []
        self.constants = 0
        self._known: dict[tuple[str, bytes], str] = {}
        self._lines: list[str] = []
        self._same: dict[str, str] = {}
        for op in network.operators:
            if op.kind in ALIASES and op.outputs[0] not in network.outputs:
                self._same[op.outputs[0]] = self._root(op.inputs[0])
        self._places, self.ram = self._plan()

    def _root(self, name: str) -> str:
        return self._same.get(name, name)

    def _plan(self) -> tuple[dict[str, str], int]:
        """Tensor → its place in the buffers, one for each type in C, as what is read as one type is never written as
        another; bytes of all."""
        spans: dict[str, list[int]] = {}
        for number, op in enumerate(self.network.operators):
            for name in (*op.inputs, *op.outputs):
                root = self._root(name)
                if name and self.network.constant(root) is None and root not in self._names:
                    spans.setdefault(root, [number, number])[1] = number
        places: dict[str, str] = {}
        total = 0
        for type_, buffer in (("float", "net_floats"), ("int8_t", "net_bytes"), ("int32_t", "net_numbers")):
            tensors = self.network.tensors
            wide = BYTES[type_]
            mine = [
                Lifetime(name, tensors[name].size * wide, first, last)
                for name, (first, last) in spans.items()
                if kind(tensors[name]) == type_
            ]
            offsets, size = plan(mine, wide)
            places |= {name: f"({buffer} + {at // wide})" for name, at in offsets.items()}
            if size:
                self.tables.append(f"{HELD} {type_} {buffer}[{size // wide}];\n")
            total += size
        return places, total

    def pointer(self, name: str) -> str:
        """Where a tensor is."""
        root = self._root(name)
        if (data := self.network.constant(root)) is not None:
            if (data.dtype.kind in "iub" and data.dtype.itemsize > 1) or data.dtype.kind == "b":
                return self.constant(data.astype(np.int32))
            return self.constant(data.astype(np.float32) if data.dtype.kind == "f" else data)
        return self._names.get(root) or self._places[root]

    def constant(self, values: Array) -> str:
        """The name of a table of these values, one for all who ask."""
        type_ = {"f": "float", "i": f"int{8 * values.dtype.itemsize}_t"}[values.dtype.kind]
        key = type_, values.tobytes()
        if key not in self._known:
            self._known[key] = f"net_c{len(self._known)}"
            flat = values.ravel()
            texts = [literal(v) for v in flat.tolist()] if type_ == "float" else [str(v) for v in flat.tolist()]
            self.tables.append(array(type_, self._known[key], texts))
            self.constants += values.nbytes
        return self._known[key]

    def use(self, function: str) -> str:
        """The name in C of a function that then is there."""
        self.used.add(function)
        return f"net_{function}"

    def line(self, text: str) -> None:
        """One statement."""
        self._lines.append(f"  {text}\n")

    def write(self) -> str:
        """All operators. Raises InvalidArgument, which names what has no C."""
        for op in self.network.operators:
            if op.kind not in ALIASES:
                EMIT[op.kind](self, op)
            elif op.outputs[0] in self.network.outputs:
                EMIT["Cast"](self, op)
        return "".join(self._lines)
