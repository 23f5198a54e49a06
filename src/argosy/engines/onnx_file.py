"""What an ONNX file asks for, found by walking it before anything executes it: external data, custom operators, size.

Field numbers are those of onnx.proto3 (ONNX IR). The file is mapped, and the weights are stepped over.
"""

import mmap
from dataclasses import dataclass, field
from math import prod
from pathlib import Path, PurePosixPath

import msgspec

from argosy.engines.base import check_file
from argosy.engines.wire import BYTES, VARINT, Buffer, fields, text, varint
from argosy.spec.errors import BadPackage

MAX_BYTES = 2**31 - 1
"""What protobuf, and so onnxruntime, can parse; larger weights are external data."""

MAX_DEPTH = 50
DOMAINS = frozenset({"", "ai.onnx", "ai.onnx.ml", "ai.onnx.preview", "ai.onnx.preview.training", "com.microsoft"})
"""Operator domains that onnxruntime itself implements."""

NESTED: dict[str, dict[int, str]] = {
    "model": {7: "graph", 8: "opset", 14: "property", 20: "training", 25: "function"},
    "training": {1: "graph", 2: "graph"},
    "graph": {1: "node", 5: "tensor", 11: "input", 12: "output", 15: "sparse"},
    "node": {5: "attribute"},
    "attribute": {5: "tensor", 6: "graph", 10: "tensor", 11: "graph", 22: "sparse", 23: "sparse"},
    "sparse": {1: "tensor", 2: "tensor"},
    "function": {7: "node", 9: "opset", 11: "attribute"},
}
"""Message → field number → the message in it, for those that can lead to a tensor, a node or a domain."""

WIDTH = {1: 4, 2: 1, 3: 1, 4: 2, 5: 2, 6: 4, 7: 8, 9: 1, 10: 2, 11: 8, 12: 4, 13: 8, 14: 8, 15: 16, 16: 2}
"""TensorProto.DataType → bytes an element takes in raw data."""


@dataclass
class Contents:
    """What was found. `shapeless` are inputs and outputs of the graph that declare no shape at all."""

    opsets: dict[str, int] = field(default_factory=dict[str, int])
    nodes: set[tuple[str, str]] = field(default_factory=set[tuple[str, str]])
    functions: set[tuple[str, str]] = field(default_factory=set[tuple[str, str]])
    external: list[tuple[str, dict[str, str], int]] = field(default_factory=list[tuple[str, dict[str, str], int]])
    shapeless: set[str] = field(default_factory=set[str])
    metadata: dict[str, str] = field(default_factory=dict[str, str])
    graphs: int = 0

    @property
    def files(self) -> tuple[str, ...]:
        """The files beside the model that hold its external data, as paths from its folder."""
        return tuple(sorted({entries["location"] for _, entries, _ in self.external if "location" in entries}))

    @property
    def classes(self) -> dict[str, tuple[str, ...]]:
        """The names of classes by output, as `packaging.zipmap` notes them."""
        try:
            return msgspec.json.decode(self.metadata.get(CLASSES, "{}"), type=dict[str, tuple[str, ...]])
        except msgspec.DecodeError:
            return {}


CLASSES = "argosy.classes"
"""The key, in a model's metadata, of the names of its classes."""


def inspect(path: Path) -> Contents:
    """Walk an ONNX file and check what it asks for. Raises BadPackage for a file that is empty, truncated, no ONNX,
    over 2 GiB, refers to data outside its folder, or uses operators onnxruntime does not have."""
    size = check_file(path, "an ONNX model")
    if size > MAX_BYTES:
        raise BadPackage(f"{path.name} is {size} bytes; an ONNX file over 2 GiB must keep its weights as external data")
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
        try:
            contents = walk(data, size)
        except BadPackage as error:
            raise BadPackage(f"{path.name} is not a whole ONNX model: {error.message}") from None
    check_domains(path, contents)
    for name, entries, wanted in contents.external:
        check_external(path, name, entries, wanted)
    return contents


def walk(data: Buffer, size: int) -> Contents:
    """Every opset, node, function and external tensor of the model, in subgraphs and functions too."""
    found = Contents()
    pending: list[tuple[str, int, int, int]] = [("model", 0, size, 0)]
    while pending:
        kind, start, end, depth = pending.pop()
        if depth > MAX_DEPTH:
            raise BadPackage(f"graphs nested more than {MAX_DEPTH} messages deep")
        found.graphs += kind == "graph"
        if kind in LEAVES:
            LEAVES[kind](data, start, end, found)
            continue
        names: dict[int, str] = {}
        nested, named = NESTED[kind], NAMED.get(kind, (0, 0))
        for item in fields(data, start, end):
            if item.number in nested and item.wire == BYTES:
                pending.append((nested[item.number], item.start, item.end, depth + 1))
            elif item.wire == BYTES and item.number in named:
                names[item.number] = text(data, item)
        if kind in NAMED:
            domain, name = (names.get(number, "") for number in named)
            (found.nodes if kind == "node" else found.functions).add((domain, name))
    if not found.graphs or not found.opsets:
        raise BadPackage("it has no graph" if not found.graphs else "it names no operator set")
    return found


NAMED = {"node": (7, 4), "function": (10, 1)}
"""Message → the fields of its domain and its operator."""


def _opset(data: Buffer, start: int, end: int, found: Contents) -> None:
    domain, version = "", 0
    for item in fields(data, start, end):
        if item.number == 1 and item.wire == BYTES:
            domain = text(data, item)
        elif item.number == 2 and item.wire == VARINT:
            version = item.start
    found.opsets[domain] = version


def _value(data: Buffer, start: int, end: int, found: Contents) -> None:
    """ValueInfoProto: whether a tensor says its shape (type.tensor_type.shape)."""
    name, shaped = "", False
    for item in fields(data, start, end):
        if item.number == 1 and item.wire == BYTES:
            name = text(data, item)
        elif item.number == 2 and item.wire == BYTES:
            tensors = [one for one in fields(data, item.start, item.end) if one.number == 1 and one.wire == BYTES]
            shaped = any(one.number == 2 for tensor in tensors for one in fields(data, tensor.start, tensor.end))
    if not shaped:
        found.shapeless.add(name)


def _tensor(data: Buffer, start: int, end: int, found: Contents) -> None:
    name, kind, raw = "", 0, -1
    dims: list[int] = []
    external: dict[str, str] = {}
    for item in fields(data, start, end):
        if item.number == 1:
            dims += _dims(data, item.wire, item.start, item.end)
        elif item.number == 2 and item.wire == VARINT:
            kind = item.start
        elif item.number == 8 and item.wire == BYTES:
            name = text(data, item)
        elif item.number == 9:
            raw = item.end - item.start
        elif item.number == 13 and item.wire == BYTES:
            key, value = _pair(data, item.start, item.end)
            external.setdefault(key, value)
            if key == "location" and external["location"] != value:
                raise BadPackage(f"the tensor '{name}' names two locations for its data")
    elements = prod(dims) if all(0 <= axis < 2**63 for axis in dims) else -1
    if elements < 0 or elements > 2**48:
        raise BadPackage(f"the tensor '{name}' has an impossible shape")
    wanted = elements * WIDTH.get(kind, 0)
    if external:
        found.external.append((name, external, wanted))
    elif raw >= 0 and kind in WIDTH and raw != wanted:
        raise BadPackage(f"the tensor '{name}' holds {raw} bytes where its shape needs {wanted}")
    elif raw < 0 and elements > 2 * (end - start):
        raise BadPackage(f"the tensor '{name}' claims {elements} elements in {end - start} bytes")


def _pair(data: Buffer, start: int, end: int) -> tuple[str, str]:
    """StringStringEntryProto: a key and its value."""
    pair = {one.number: text(data, one) for one in fields(data, start, end) if one.wire == BYTES}
    return pair.get(1, ""), pair.get(2, "")


def _property(data: Buffer, start: int, end: int, found: Contents) -> None:
    key, value = _pair(data, start, end)
    found.metadata[key] = value


def _dims(data: Buffer, wire: int, start: int, end: int) -> list[int]:
    if wire == VARINT:
        return [start]
    found: list[int] = []
    while start < end:
        value, start = varint(data, start, end)
        found.append(value)
    return found


LEAVES = {"opset": _opset, "property": _property, "input": _value, "output": _value, "tensor": _tensor}


def check_domains(path: Path, contents: Contents) -> None:
    """Raise BadPackage for an operator that neither onnxruntime nor a function in the file defines."""
    for domain, operator in sorted(contents.nodes - contents.functions):
        if domain not in DOMAINS:
            raise BadPackage(
                f"{path.name} uses the custom operator '{domain}::{operator}'; only the operators of onnxruntime are "
                "served: export the model without it, or serve it as a Python class"
            )
        if (domain, operator) == ("com.microsoft", "EPContext"):
            raise BadPackage(
                f"{path.name} holds a compiled blob (EPContext) for other hardware; export it as plain ONNX"
            )


def check_external(path: Path, tensor: str, entries: dict[str, str], wanted: int) -> None:
    """Raise BadPackage unless the data of a tensor lies whole in a regular file beside the model, or below."""
    location = entries.get("location", "")
    parts = PurePosixPath(location).parts
    where = f"{path.name}: the data of tensor '{tensor}' is in '{location[:200]}'"
    if not parts or location.startswith("/") or ".." in parts or any(mark in location for mark in "\\*:\0"):
        raise BadPackage(f"{where}; external data must be a relative path inside the model's own folder")
    here = path.parent
    for part in parts:
        here = here / part
        if here.is_symlink():
            raise BadPackage(f"{where}, through a symbolic link; links are refused, copy the file instead")
    if not here.is_file():
        raise BadPackage(f"{where}, which is not there; put it beside the model, under that name")
    offset, length = _number(entries, "offset", where), _number(entries, "length", where) or wanted
    if wanted and length != wanted:
        raise BadPackage(f"{where}: {length} bytes where its shape needs {wanted}")
    if offset + length > (size := here.stat().st_size):
        raise BadPackage(f"{where}, which ends at byte {size}; {offset + length} are needed: is it truncated?")


def _number(entries: dict[str, str], key: str, where: str) -> int:
    value = entries.get(key, "0")
    if not value.isascii() or not value.isdigit() or len(value) > 18:
        raise BadPackage(f"{where}: its {key} '{value[:40]}' is no number")
    return int(value)
