"""A model over onnxruntime, where there is no C of it: its C library behind the same kind of C interface."""

import hashlib
import math
import re
import tempfile
from pathlib import Path
from typing import NamedTuple, cast

import msgspec

from argosy.embedded import code
from argosy.embedded.code import Kind, Port, filled, number, prototype, quoted, resource, rows
from argosy.embedded.formats import onnx
from argosy.embedded.report import require, run
from argosy.engines.base import require as module
from argosy.packaging.package import Package
from argosy.spec.errors import InvalidArgument, MissingExtra, NotFound
from argosy.spec.signature import DATATYPES, Domain, TensorSpec
from argosy.spec.tensor import Array, as_bytes

_C = """
uint8_t uint8_t uint16_t uint32_t uint64_t int8_t int16_t int32_t int64_t uint16_t float double text uint16_t
"""
_NUMBERS = (9, 2, 4, 12, 13, 3, 5, 6, 7, 10, 1, 11, 8, 16)
TYPES = dict(zip(DATATYPES, zip(_C.split(), _NUMBERS, strict=True), strict=True))
"""Datatype → its type in C, and its number in onnxruntime's C interface."""


class Delegate(NamedTuple):
    """A provider of onnxruntime that takes a whole model: its name there, and its settings."""

    provider: str
    settings: dict[str, str]
    how: str


DELEGATES = {
    "openvino": Delegate("OpenVINO", {"device_type": "CPU"}, "pip download onnxruntime-openvino, and unzip it"),
    "qnn": Delegate("QNN", {"backend_type": "htp"}, "pip download onnxruntime-qnn, and unzip it"),
}
AXES = 8
"""The most that a tensor of the C interface has."""


class Wrapped(NamedTuple):
    """What a wrapper needs: a description for JSON, the model as ONNX, its golden tensors one after the other."""

    about: dict[str, object]
    model: bytes
    golden: bytes
    places: list[tuple[int, tuple[int, ...]]]


def wrapped(package: Package, name: str, model: str, why: str) -> Wrapped:
    """The package as what onnxruntime loads. Raises what `formats.onnx` does."""
    signature = package.manifest.signature
    data = onnx(package, model)["model.onnx"]
    golden = bytearray()
    places: list[tuple[int, tuple[int, ...]]] = []
    for tensor in (*package.golden_inputs(), *package.golden_outputs()):
        golden += bytes(-len(golden) % 8)
        places.append((len(golden), tensor.shape))
        golden += _raw(tensor.array)
    about: dict[str, object] = {
        "name": name,
        "model": model,
        "engine": "onnxruntime",
        "why": why,
        "batched": signature.batched,
        "inputs": [msgspec.to_builtins(spec) for spec in signature.inputs],
        "outputs": [msgspec.to_builtins(spec) for spec in signature.outputs],
        "golden_rows": places[0][1][0] if signature.batched else 1,
        "tolerance": msgspec.to_builtins(package.manifest.tolerance),
    }
    return Wrapped(about, data, bytes(golden), places)


def _raw(array: Array) -> bytes:
    if array.dtype.kind == "O":
        return b"".join(text + b"\0" for text in as_bytes(array).reshape(-1))
    return array.tobytes()


def runtime(given: Path | None, delegate: str | None) -> dict[str, Path]:
    """Name → file, of onnxruntime's C library and what it opens for a delegate. Raises NotFound, MissingExtra."""
    root = given or Path(str(module("onnxruntime", "onnx", "export lib").__file__)).parent
    libraries = sorted(root.rglob("libonnxruntime.so*"))
    if not libraries:
        raise NotFound(f"there is no libonnxruntime.so below {root}: name an unpacked wheel of onnxruntime")
    files = {"libonnxruntime.so.1": libraries[-1]}
    if delegate:
        known = DELEGATES[delegate]
        folder = libraries[-1].parent
        if not (folder / f"libonnxruntime_providers_{delegate}.so").exists():
            raise NotFound(
                f"the onnxruntime in {folder} has no {known.provider}: get one ({known.how}), and name its folder by "
                "--onnxruntime"
            )
        files |= _unique(folder)
    return files


def _unique(folder: Path) -> dict[str, Path]:
    """The other libraries of a folder, each content once: by the name that programs ask for, with one number."""
    found: dict[str, Path] = {}
    names = [
        p for p in folder.glob("*.so*") if not re.match(r"libonnxruntime\.so|onnxruntime_pybind|.*_[gn]pu_", p.name)
    ]
    for path in sorted(names, key=lambda one: (not re.search(r"\.so\.\d+$", one.name), one.name)):
        found.setdefault(hashlib.sha256(path.read_bytes()).hexdigest(), path)
    return {path.name: path for path in found.values()}


def ports(specs: tuple[TensorSpec, ...], batched: bool, side: str) -> tuple[Port, ...] | None:
    """The tensors as parameters in C; None where an axis is free, or a value is a text."""
    found: list[Port] = []
    for at, spec in enumerate(specs):
        shape = spec.shape[batched:]
        if -1 in shape or spec.datatype == "BYTES":
            return None
        name = code.as_identifier(spec.name, f"{side}_{at}")
        taken = name in {"rows", "ways", "wrong", *(port.name for port in found)}
        found.append(
            Port(
                name=f"{side}_{at}" if taken else name,
                tensors=(spec.name,),
                size=math.prod(shape),
                kind=cast("Kind", TYPES[spec.datatype][0]),
                elements=spec.columns or spec.classes,
            )
        )
    return tuple(found)


def library(
    package: Package, name: str, model: str, why: str, given: Path | None = None, delegate: str | None = None
) -> dict[str, bytes]:
    """The files of `argosy export lib` over onnxruntime. Raises what `wrapped` and `runtime` do, MissingExtra without
    gcc, InvalidArgument where the self-test fails."""
    made = wrapped(package, name, model, why)
    files = runtime(given, delegate)
    require("gcc", "gcc", "export lib")
    made.about["delegate"] = delegate
    about = msgspec.json.encode(made.about).decode()
    header = _header(package, name, model)
    source = filled(resource("onnxruntime.c"), {"FUNCTIONS": _functions(package, name), "MODEL": name})
    with tempfile.TemporaryDirectory(prefix="argosy-lib-") as place:
        folder = Path(place)
        (folder / "model.onnx").write_bytes(made.model)
        (folder / "golden.bin").write_bytes(made.golden)
        (folder / "tables.h").write_text(_tables(package, made, delegate) + _signature(name, about))
        (folder / f"{name}.h").write_text(header)
        (folder / f"{name}.c").write_text(source)
        (folder / "test.c").write_text(filled(TEST, {"MODEL": name}))
        for file, path in files.items():
            (folder / file).symlink_to(path.resolve())
        linked = [f"-Wl,-soname,lib{name}.so", "-Wl,-rpath,$ORIGIN", "-pthread", "-ldl"]
        run(["gcc", *FLAGS, "-fPIC", "-shared", f"{name}.c", "-o", f"lib{name}.so", *linked], "gcc", folder)
        run(["gcc", "test.c", f"lib{name}.so", "-Wl,-rpath,$ORIGIN", "-o", "test"], "gcc", folder)
        run([str(folder / "test")], f"the self-test of lib{name}.so", folder)
        shared = (folder / f"lib{name}.so").read_bytes()
    return {
        f"lib/lib{name}.so": shared,
        **{f"lib/{file}": path.read_bytes() for file, path in files.items()},
        f"include/{name}.h": header.encode(),
        f"lib/pkgconfig/{name}.pc": code.pkg_config(name, model),
        "signature.json": about.encode(),
    }


def planned(package: Package, name: str, model: str, why: str, given: Path | None, delegate: str | None) -> list[str]:
    """What `library` would do, also where its onnxruntime is not here. Raises what `wrapped` does."""
    made = wrapped(package, name, model, why)
    steps = [f"onnxruntime answers: {why}", f"{len(made.model)} bytes of ONNX go into lib/lib{name}.so"]
    if delegate:
        provider, settings, _ = DELEGATES[delegate]
        said = ", ".join(f"{key}={value}" for key, value in settings.items())
        steps.append(f"the session gets the provider {provider} ({said}), and none of the model is left to the CPU's")
    try:
        steps += [
            f"{file} of {path.stat().st_size} bytes is put beside it" for file, path in runtime(given, delegate).items()
        ]
    except (NotFound, MissingExtra) as error:
        steps.append(f"cannot be done here: {error.message}")
    return steps


FLAGS = ("-std=gnu11", "-O2", "-Wall")
TEST = """#include <stdio.h>
#include "MODEL.h"

int main(void)
{
  int failed = MODEL_selftest();
  if (failed)
    fprintf(stderr, "golden example %d: %s\\n", failed - 1, MODEL_error());
  return failed != 0;
}
"""


def _sides(package: Package) -> tuple[tuple[Port, ...] | None, tuple[Port, ...] | None]:
    signature = package.manifest.signature
    return ports(signature.inputs, signature.batched, "input"), ports(signature.outputs, signature.batched, "output")


def _functions(package: Package, name: str) -> str:
    """`predict`, and `predict_rows` where rows are counted; nothing where an axis is free or a value is a text."""
    inputs, outputs = _sides(package)
    if inputs is None or outputs is None:
        return ""
    ways = f"  const void *const ways[] = {{{', '.join(port.name for port in (*inputs, *outputs))}}};\n"
    one = f"{prototype(name, inputs, outputs)}\n{{\n{ways}  int64_t wrong = rows_of(1, ways);\n"
    one += "  return wrong > 0 ? 1 : (int)wrong;\n}\n"
    many = f"\n{rows(name, inputs, outputs)}\n{{\n{ways}  return rows_of(rows, ways);\n}}\n"
    return one + (many if package.manifest.signature.batched else "")


def _tables(package: Package, made: Wrapped, delegate: str | None) -> str:
    """`tables.h`: what the C file has to know of the model."""
    signature, tolerance = package.manifest.signature, package.manifest.tolerance
    provider, settings, _ = DELEGATES[delegate] if delegate else ("", {}, "")
    fixed = None not in _sides(package)
    tables: list[str] = []
    for side, specs in (("INPUT", signature.inputs), ("OUTPUT", signature.outputs)):
        lines = [_port(spec, f"{side.lower()}_{at}", tables) for at, spec in enumerate(specs)]
        tables.append(f"static const struct port {side}[] = {{{', '.join(lines)}}};\n")
    golden = ", ".join(f"{{{at}, {{{', '.join(map(str, shape)) or 0}}}, {len(shape)}}}" for at, shape in made.places)
    tables.append(f"static const struct golden GOLDEN[] = {{{golden}}};\n")
    for kind, texts in (("KEYS", settings), ("VALUES", settings.values())):
        tables.append(f"static const char *const {kind}[] = {{{', '.join(map(quoted, texts)) or 'NULL'}}};\n")
    defined = {
        "INPUTS": len(signature.inputs),
        "OUTPUTS": len(signature.outputs),
        "FIXED": int(fixed),
        "BATCHED": int(signature.batched),
        "PROVIDER": quoted(provider) if provider else "(const char *)0",
        "SETTINGS": len(settings),
        "ATOL": number(tolerance.atol, single=False),
        "RTOL": number(tolerance.rtol, single=False),
    }
    return "".join([f"#define {word} {value}\n" for word, value in defined.items()] + tables)


def _port(spec: TensorSpec, name: str, tables: list[str]) -> str:
    """One `struct port`; what it points to goes to the tables."""
    if len(spec.shape) > AXES:
        raise InvalidArgument(f"'{spec.name}' has {len(spec.shape)} axes: the C interface takes {AXES}")
    domain = spec.domain or Domain()
    limits = ["__builtin_inf()" if each is None else number(each, single=False) for each in domain.limits]
    gaps = [str(int(each)) for each in domain.gaps]
    if spec.datatype == "BYTES":
        limits, gaps = ["0"], [str(int(all(domain.gaps)))]
    wide = max(len(limits), len(gaps))
    limits, gaps = (side * wide if len(side) == 1 else side for side in (limits, gaps))
    for kind, word, values in (
        ("int64_t", "shape", list(map(str, spec.shape)) or ["0"]),
        ("double", "limits", limits),
        ("unsigned char", "gaps", gaps),
        ("char *const", "texts", [quoted(text) for text in domain.categories] or ["0"]),
    ):
        tables.append(f"static const {kind} {name}_{word}[] = {{{', '.join(values)}}};\n")
    checked = int(spec.domain is not None and spec.datatype in ("FP32", "FP64", "BYTES"))
    numbers = (TYPES[spec.datatype][1], len(spec.shape), checked, wide, len(domain.categories))
    places = (f"{name}_{word}" for word in ("shape", "limits", "gaps", "texts"))
    return f"{{{quoted(spec.name)}, {', '.join(map(str, numbers))}, {', '.join(places)}}}"


def _signature(name: str, about: str) -> str:
    return f"const char *{name}_signature(void)\n{{\n  return {quoted(about)};\n}}\n"


def _header(package: Package, name: str, model: str) -> str:
    """`NAME.h`."""
    signature = package.manifest.signature
    sides = (("inputs", signature.inputs), ("outputs", signature.outputs))
    lines = [
        f"{side}[{at}] '{spec.name}': {TYPES[spec.datatype][0]} {list(spec.shape)}"
        for side, specs in sides
        for at, spec in enumerate(specs)
    ]
    comment = "\n".join(f" * {code.plain(line)}" for line in (f"{model}, over onnxruntime", *lines))
    inputs, outputs = _sides(package)
    direct = ""
    if inputs is not None and outputs is not None:
        direct = f"/* One row. */\n{prototype(name, inputs, outputs)};\n\n"
        if signature.batched:
            direct += (
                "/* Rows one after the other; 0, -1, or 1 + the first row that is not answered. */\n"
                f"{rows(name, inputs, outputs)};\n\n"
            )
    words = {"COMMENT": comment, "DIRECT": direct, "MODEL_H": f"{name.upper()}_H", "MODEL": name}
    return filled(resource("onnxruntime.h"), words)
