"""A folder that any static server can serve: the model as WebAssembly or with onnxruntime-web, a module of JavaScript
and its types, a page."""

import hashlib
import shutil
import tempfile
from collections.abc import Iterator
from importlib.resources import files
from pathlib import Path
from typing import cast

import msgspec

from argosy.embedded.binaries import compiled, describe
from argosy.embedded.code import Port, filled
from argosy.embedded.export import chosen
from argosy.embedded.report import run
from argosy.embedded.runtime import wrapped
from argosy.packaging.package import Package
from argosy.spec.errors import MissingExtra, NotFound, Unsupported
from argosy.spec.signature import TensorSpec
from argosy.spec.tensor import Array

ENGINE = {"ort.mjs": "dist/ort.wasm.bundle.min.mjs", "ort.wasm": "dist/ort-wasm-simd-threaded.wasm"}
"""Of onnxruntime-web: without WebGPU, and with its threads left unused, as they need headers of the server."""
REPLAY = "import(process.argv[1]).then((m) => m.load()).catch((e) => { console.error(e.message); process.exit(1) })"


def web(
    package: Package, name: str, model: str, engine: str = "auto", onnxruntime_web: Path | None = None
) -> dict[str, bytes]:
    """The files of `argosy export web`: over C where there is some, which is smaller by onnxruntime-web's 14 MB, else
    over that. Raises what `chosen`, `compiled` and `wrapped` do, and MissingExtra without onnxruntime-web."""
    made = chosen(package, name, model, engine)
    if isinstance(made, str):
        return _over_onnxruntime(package, name, model, made, onnxruntime_web)
    wasm = compiled(made)
    inputs = "\n".join(line for port in made.code.inputs for line in _given(port))
    outputs = "\n".join(f"  {_key(port.tensor)}: {_found(port)};" for port in made.code.outputs)
    texts = {"INPUTS": inputs, "OUTPUTS": outputs, "ANSWER<Outputs>": "Outputs", "ANSWER<number>": "number"}
    return _folder(package, model, describe(made), {"model.wasm": wasm}, "model.js", texts)


def _over_onnxruntime(package: Package, name: str, model: str, why: str, given: Path | None) -> dict[str, bytes]:
    made = wrapped(package, name, model, why)
    signature = package.manifest.signature
    if small := [spec.name for spec in (*signature.inputs, *signature.outputs) if spec.datatype in ("FP16", "BF16")]:
        raise Unsupported(
            f"'{small[0]}' has 16 bits, which JavaScript has no numbers of: export the model with float32"
        )
    root = onnxruntime_web(given, why)
    about = {**made.about, "version": msgspec.json.decode((root / "package.json").read_bytes())["version"]}
    about["golden"] = made.places
    binary = {file: (root / path).read_bytes() for file, path in ENGINE.items()}
    binary |= {"model.onnx": made.model, "golden.bin": made.golden}
    sides = (signature.inputs, " | null"), (signature.outputs, "")
    inputs, outputs = ("\n".join(_nested(spec, signature.batched, gap) for spec in side) for side, gap in sides)
    texts = {"INPUTS": inputs, "OUTPUTS": outputs, "ANSWER": "Promise"}
    found = _folder(package, model, about, binary, "onnx.js", texts)
    if shutil.which("node"):
        with tempfile.TemporaryDirectory(prefix="argosy-web-") as place:
            for file, data in found.items():
                (Path(place) / file).write_bytes(data)
            command = ["node", "--input-type=module", "-e", REPLAY, f"file://{place}/model.js"]
            run(command, f"the self-test of {name} over onnxruntime-web", Path(place))
    return found


def onnxruntime_web(given: Path | None, why: str) -> Path:
    """The folder of the package: the one that is given, or where npm has it for this folder or for all. Raises
    NotFound, MissingExtra."""
    for root in [given] if given else _installed():
        for folder in (root, root / "onnxruntime-web", root / "node_modules" / "onnxruntime-web"):
            if all((folder / path).is_file() for path in ENGINE.values()):
                return folder
    if given:
        raise NotFound(f"there is no onnxruntime-web in {given}: it has {' and '.join(ENGINE.values())}")
    raise MissingExtra(
        "export web without C needs onnxruntime-web, which is not installed: run  npm install onnxruntime-web  here, "
        f"or name its folder by --onnxruntime-web. Why there is no C: {why}"
    )


def _installed() -> Iterator[Path]:
    if shutil.which("npm"):
        for where in ("root", "root -g"):
            yield Path(run(["npm", *where.split()], "npm", Path.cwd()).strip())


def _folder(
    package: Package,
    model: str,
    described: dict[str, object],
    binary: dict[str, bytes],
    script: str,
    texts: dict[str, str],
) -> dict[str, bytes]:
    """These files, and those of the page. `texts`: word → what it is replaced by there."""
    about = msgspec.json.encode(described)
    rows = package.manifest.signature.batched or "golden.bin" not in binary
    example = {each.name: _row(each.array[:1] if rows else each.array[None]) for each in package.golden_inputs()}
    found = {**binary, "example.json": msgspec.json.encode(example), "signature.json": about}
    cached = ["./", "./index.html", "./model.js", *(f"./{file}" for file in found)]
    digest = hashlib.sha256(b"".join((*found.values(), about)))
    replaced = {
        "MODEL": _plain(model),
        "DIGEST": digest.hexdigest()[:16],
        "SIGNATURE = {}": f"SIGNATURE = {about.decode()}",
        'FILES = ["./"]': f"FILES = {msgspec.json.encode(cached).decode()}",
        **texts,
    }
    for file, source in (("index.html",) * 2, ("model.js", script), ("model.d.ts",) * 2, ("sw.js",) * 2):
        text = files("argosy.embedded").joinpath("static", source).read_text()
        found[file] = filled(text, replaced).encode()
    return found


def _row(values: Array) -> object:
    """One row as JSON has it: a text stays one, a number that is missing is null; one value alone is no list."""

    def plain(value: object) -> object:
        if isinstance(value, list):
            return [plain(each) for each in cast("list[object]", value)]
        if isinstance(value, bytes):
            return value.decode(errors="replace")
        return None if isinstance(value, float) and value != value else value

    return plain(values.item() if values.size == 1 else values[0].tolist())


def _given(port: Port) -> list[str]:
    if len(port.tensors) == 1:
        return [f"  {_key(port.tensor)}: {'number | null' if port.size == 1 else 'ArrayLike<number | null>'};"]
    return [
        f"  {_key(tensor)}: {'string | number | null' if place in port.codes else 'number | null'};"
        for place, tensor in enumerate(port.tensors)
    ]


def _found(port: Port) -> str:
    one = " | ".join(msgspec.json.encode(label).decode() for label in port.labels) if port.labels else "number"
    return one if port.size == 1 else f"Array<{one}>"


def _nested(spec: TensorSpec, batched: bool, gap: str) -> str:
    kind = {"BYTES": "string", "BOOL": "boolean"}.get(spec.datatype, "number") + gap
    return f"  {_key(spec.name)}: {f'Nested<{kind}>' if spec.shape[batched:] else kind};"


def _key(name: str) -> str:
    return msgspec.json.encode(name).decode()


def _plain(text: str) -> str:
    """Text that HTML and a comment can hold."""
    return "".join(letter if letter.isalnum() or letter in ":._- " else "_" for letter in text)
