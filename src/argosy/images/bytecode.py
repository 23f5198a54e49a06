"""Bytecode of the modules of a layer, so that a container does not compile at every start.

It is compiled by the interpreter of the image itself, which the loader of the image starts, so that it does not depend
on the Python that builds. It is found by name and not compared with its source (PEP 552, unchecked): the same source
gives the same bytes, and nothing is written in the container.
"""

import json
import re
import struct
import subprocess
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path, PurePosixPath

from argosy.images.platforms import Platform
from argosy.images.tree import Node, Tree
from argosy.spec.errors import BadPackage

_PARTS = 4
"""Processes, whatever the machine: what a process compiled before may show in what it compiles next."""
_SOURCE_ALONE = re.compile(
    r"/python3\.\d+/(_pydecimal|_pyio|curses|dbm|distutils|doctest|pdb|pydoc|unittest|xmlrpc)\b"
    r"|/argosy/(activator|alerting|api|batch|capacity|control|gateway|images|jobs|monitoring|platform|targets|telemetry)/"
)
"""Modules that no server imports: tools for developers, and the rooms of the platform."""
_SCRIPT = """
import importlib.util, json, marshal, struct, sys
for source, name in json.load(sys.stdin):
    data = open(source, "rb").read()
    try:
        code = compile(data, name, "exec", dont_inherit=True)
    except (SyntaxError, ValueError):
        pyc = b""
    else:
        head = importlib.util.MAGIC_NUMBER + struct.pack("<I", 1) + importlib.util.source_hash(data)
        pyc = head + marshal.dumps(code)
    sys.stdout.buffer.write(struct.pack("<I", len(pyc)) + pyc)
"""


class Compiler:
    """The interpreter of an image's base, laid out below `root` for the platform of this machine."""

    def __init__(self, root: Path, platform: Platform, python: str) -> None:
        self.root, self.python = root, python
        libraries = f"{root}/usr/lib/{platform.triplet}"
        program = root / "usr" / "bin" / f"python{python}"
        self.command = [str(root / platform.loader), "--library-path", libraries, str(program), "-PsSB", "-c", _SCRIPT]

    def compile(self, tree: Tree) -> Tree:
        """Add the bytecode of every module of the tree that a server may import, and return the tree. Raises BadPackage
        where the interpreter does not run."""
        modules = sorted(path for path, node in tree.nodes.items() if path.endswith(".py") and node.content is not None)
        modules = [path for path in modules if not _SOURCE_ALONE.search(path)]
        parts = [modules[index::_PARTS] for index in range(_PARTS)]
        with ThreadPoolExecutor(_PARTS) as pool:
            for part, compiled in zip(parts, pool.map(partial(self._run, tree), parts), strict=True):
                for path, code in zip(part, compiled, strict=True):
                    module = PurePosixPath(path)
                    tag = f"{module.stem}.cpython-{self.python.replace('.', '')}.pyc"
                    if code:
                        tree.file(str(module.parent / "__pycache__" / tag), code)
        return tree

    def _run(self, tree: Tree, modules: list[str]) -> list[bytes]:
        job = json.dumps([[self._source(path, tree.nodes[path]), f"/{path}"] for path in modules])
        environ = {"PYTHONHASHSEED": "0", "PYTHONHOME": str(self.root / "usr"), "LC_ALL": "C.UTF-8"}
        ran = subprocess.run(self.command, input=job.encode(), env=environ, capture_output=True, check=False)
        if ran.returncode:
            said = ran.stderr.decode(errors="replace")[-300:]
            raise BadPackage(f"the Python of the image does not run on this machine: {said}")
        found: list[bytes] = []
        position = 0
        while position < len(ran.stdout):
            (size,) = struct.unpack_from("<I", ran.stdout, position)
            found.append(ran.stdout[position + 4 : position + 4 + size])
            position += 4 + size
        return found

    def _source(self, path: str, node: Node) -> str:
        if isinstance(node.content, Path):
            return str(node.content)
        source = self.root / "sources" / path
        source.parent.mkdir(parents=True, exist_ok=True)
        source.write_bytes(node.read())
        return str(source)
