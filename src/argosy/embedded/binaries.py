"""Generated C as a shared library with a C ABI, and as one WebAssembly module. Both replay the golden examples before
they are given away."""

import shutil
import tempfile
from pathlib import Path

import msgspec

from argosy.embedded import runtime, selftest
from argosy.embedded.code import pkg_config, prototype, quoted, rows
from argosy.embedded.export import Generated, chosen, generate
from argosy.embedded.report import require, run
from argosy.packaging.package import Package
from argosy.spec.errors import Unsupported

SHARED = ("-O2", "-ffp-contract=off", "-fPIC", "-shared", "-DNET_BUFFER=static _Thread_local")
WASM = ("-O2", "-ffp-contract=off", "--no-entry", "-sSTANDALONE_WASM", "-sALLOW_MEMORY_GROWTH=0")
REPLAY = """WebAssembly.instantiate(require('fs').readFileSync('model.wasm'), {}).then(
({ instance }) => process.exit(Math.min(instance.exports.selftest(), 100)))"""
REPLAYED = "the golden examples are replayed; where one is answered otherwise, nothing is written"
PAGE = 65536
STACK = 64 * 1024
MOST = 2**31 - PAGE


def describe(made: Generated) -> dict[str, object]:
    """What wrappers have to know of a model, as JSON."""
    code = made.code
    return {
        "name": code.name,
        "model": code.model,
        "engine": "c",
        "inputs": [msgspec.to_builtins(port) for port in code.inputs],
        "outputs": [msgspec.to_builtins(port) for port in code.outputs],
        "golden_rows": len(made.vectors.inputs[0]),
    }


def library(
    package: Package,
    name: str,
    model: str,
    engine: str = "auto",
    onnxruntime: Path | None = None,
    delegate: str | None = None,
) -> dict[str, bytes]:
    """The files of `argosy export lib`: over C where there is some, else over onnxruntime. Raises what `chosen` and
    `runtime.library` do, MissingExtra without gcc, GoldenMismatch."""
    made = chosen(package, name, model, "onnxruntime" if delegate else engine)
    if isinstance(made, str):
        return runtime.library(package, name, model, made, onnxruntime, delegate)
    code = made.code
    require("gcc", "gcc", "export lib")
    about = msgspec.json.encode(describe(made)).decode()
    every = rows(name, code.inputs, code.outputs)
    more = (
        f"/* Rows one after the other; 0, or 1 + the first row that is not answered. */\n{every};\n\n"
        f"/* Replays the golden examples: 0, or 1 + the first one that is answered otherwise. */\n"
        f"int {name}_selftest(void);\n\n/* Names, sizes and labels, as JSON. */\nconst char *{name}_signature(void);"
    )
    alone = f"{prototype(name, code.inputs, code.outputs)};"
    header = code.header.replace(alone, f"{alone}\n\n{more}")
    steps = ", ".join(f"{port.name} + row * {port.size}" for port in (*code.inputs, *code.outputs))
    glue = (
        f'#include "{name}.h"\n\n{every}\n{{\n  int64_t row;\n  for (row = 0; row < rows; row++)\n'
        f"    if ({name}_predict({steps}))\n      return row + 1;\n  return 0;\n}}\n\n"
        f"const char *{name}_signature(void)\n{{\n  return {quoted(about)};\n}}\n"
    )
    with tempfile.TemporaryDirectory(prefix="argosy-lib-") as place:
        folder = _sources(Path(place), made, {f"{name}.h": header, f"{name}_abi.c": glue})
        sources = [f"{name}.c", f"{name}_abi.c", f"{name}_test.c"]
        soname = f"-Wl,-soname,lib{name}.so"
        run(["gcc", *SHARED, f"-Dmain={name}_main", soname, *sources, "-o", f"lib{name}.so"], "gcc", folder)
        run(["gcc", f"{name}_test.c", f"lib{name}.so", "-Wl,-rpath,.", "-o", "test"], "gcc", folder)
        run([str(folder / "test")], f"the self-test of lib{name}.so", folder)
        shared = (folder / f"lib{name}.so").read_bytes()
    return {
        f"lib/lib{name}.so": shared,
        f"include/{name}.h": header.encode(),
        f"lib/pkgconfig/{name}.pc": pkg_config(name, model),
        "signature.json": about.encode(),
    }


def planned(
    package: Package, name: str, model: str, engine: str, onnxruntime: Path | None, delegate: str | None
) -> list[str]:
    """What `library` would do, in sentences. Raises what `chosen` does."""
    made = chosen(package, name, model, "onnxruntime" if delegate else engine)
    if isinstance(made, str):
        return [*runtime.planned(package, name, model, made, onnxruntime, delegate), REPLAYED]
    return [f"C of {made.code.estimate.flash} bytes is compiled by gcc as lib/lib{name}.so", REPLAYED]


def module(package: Package, name: str, model: str) -> tuple[dict[str, object], bytes]:
    """A description, and what `compiled` gives. Raises what `generate` and `compiled` do."""
    made = generate(package, name, model)
    return describe(made), compiled(made)


def compiled(made: Generated) -> bytes:
    """A WebAssembly module that needs nothing of its host. Exports: `memory`, `input(at)` and `output(at)` (addresses
    of the ports' values of one row), `predict()` and `selftest()`, which give 0 or what is wrong. Raises MissingExtra
    without emscripten, GoldenMismatch."""
    require("emcc", "emscripten", "export wasm")
    code, name = made.code, made.code.name
    held = "".join(f"static {port.kind} held_{port.name}[{port.size}];\n" for port in (*code.inputs, *code.outputs))
    given = ", ".join(f"held_{port.name}" for port in (*code.inputs, *code.outputs))
    glue = f'#include "{name}.h"\n\nint {name}_selftest(void);\n\n{held}\n'
    for function, ports in (("input", code.inputs), ("output", code.outputs)):
        places = ", ".join(f"held_{port.name}" for port in ports)
        glue += f"void *{function}(int at)\n{{\n  void *const all[] = {{{places}}};\n  return all[at];\n}}\n\n"
    glue += f"int predict(void)\n{{\n  return {name}_predict({given});\n}}\n\n"
    glue += f"int selftest(void)\n{{\n  return {name}_selftest();\n}}\n"
    need = code.estimate.flash + code.estimate.ram + sum(4 * p.size for p in (*code.inputs, *code.outputs)) * 20 + STACK
    memory = -(-(need + need // 4 + 16 * PAGE) // PAGE) * PAGE
    if memory > MOST:
        raise Unsupported(f"{code.model} takes {need} bytes of memory: a WebAssembly module has at most {MOST}")
    with tempfile.TemporaryDirectory(prefix="argosy-wasm-") as place:
        folder = _sources(Path(place), made, {"glue.c": glue})
        exported = "-sEXPORTED_FUNCTIONS=" + ",".join(f"_{each}" for each in ("input", "output", "predict", "selftest"))
        sources = [f"{name}.c", f"{name}_test.c", "glue.c"]
        sizes = [f"-sINITIAL_MEMORY={memory}", f"-sTOTAL_STACK={STACK}"]
        run(["emcc", *WASM, *sizes, f"-Dmain={name}_main", exported, *sources, "-o", "model.wasm"], "emcc", folder)
        if shutil.which("node"):
            run(["node", "-e", REPLAY], f"the self-test of {name} as WebAssembly", folder)
        return (folder / "model.wasm").read_bytes()


def _sources(folder: Path, made: Generated, more: dict[str, str]) -> Path:
    """The folder with all files of the model and these."""
    files = made.code.files | {f"{made.code.name}_test.c": selftest.source(made.code, made.vectors)} | more
    for file, text in files.items():
        (folder / file).write_text(text)
    return folder
