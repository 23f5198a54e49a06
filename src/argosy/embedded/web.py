"""A folder that any static server can serve: the model as WebAssembly, a module of JavaScript and its types, a page."""

import hashlib
from importlib.resources import files

import msgspec

from argosy.embedded.binaries import module
from argosy.embedded.code import Port
from argosy.packaging.package import Package
from argosy.spec.tensor import Tensor


def web(package: Package, name: str, model: str) -> dict[str, bytes]:
    """The files of `argosy export web`. Raises what `module` does."""
    described, wasm = module(package, name, model)
    about = msgspec.json.encode(described)
    ports = (msgspec.convert(described[side], tuple[Port, ...]) for side in ("inputs", "outputs"))
    inputs, outputs = ports
    example = {tensor.name: _row(tensor) for tensor in package.golden_inputs()}
    replaced = {
        "MODEL": _plain(model),
        "DIGEST": hashlib.sha256(wasm + about).hexdigest()[:16],
        "INPUTS": "\n".join(line for port in inputs for line in _given(port)),
        "OUTPUTS": "\n".join(f"  {_key(port.tensor)}: {_found(port)};" for port in outputs),
        "SIGNATURE = {}": f"SIGNATURE = {about.decode()}",
    }
    found: dict[str, bytes] = {"model.wasm": wasm, "example.json": msgspec.json.encode(example)}
    for file in ("index.html", "model.js", "model.d.ts", "sw.js"):
        text = files("argosy.embedded").joinpath("static", file).read_text()
        for word, value in replaced.items():
            text = text.replace(word, value)
        found[file] = text.encode()
    return found


def _row(tensor: Tensor) -> object:
    """The first golden example, as JSON has it: a text stays one."""
    values = tensor.array[0].ravel().tolist()
    plain = [value.decode(errors="replace") if isinstance(value, bytes) else value for value in values]
    finite = [None if isinstance(value, float) and value != value else value for value in plain]
    return finite[0] if len(finite) == 1 else finite


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


def _key(name: str) -> str:
    return msgspec.json.encode(name).decode()


def _plain(text: str) -> str:
    """Text that HTML and a comment can hold."""
    return "".join(letter if letter.isalnum() or letter in ":._- " else "_" for letter in text)
