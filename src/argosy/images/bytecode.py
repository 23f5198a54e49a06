"""Bytecode of the modules of a layer, so that a container does not compile at every start.

It is compiled by the interpreter of the image itself, which the loader of the image starts, so that it does not depend
on the Python that builds. It is found by name and not compared with its source (PEP 552, unchecked): the same source
gives the same bytes, and nothing is written in the container.
"""

import re
import subprocess
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path, PurePosixPath

from argosy.images.platforms import Platform
from argosy.images.tree import Tree
from argosy.spec.errors import BadPackage

_PARTS = 4
"""Processes, whatever the machine: what a process compiled before may show in what it compiles next."""
_SOURCE_ALONE = re.compile(
    r"/python3\.\d+/(_pydecimal|_pyio|aifc|asyncore|bdb|cgi|curses|dbm|distutils|doctest|ftplib|imaplib|mailbox|nntplib"
    r"|optparse|pdb|pickletools|pstats|pydoc|smtpd|smtplib|telnetlib|trace|unittest|venv|wave|webbrowser|wsgiref|xml"
    r"|xmlrpc)\b"
    r"|/argosy/(activator|alerting|api|batch|capacity|console|control|gateway|images|jobs|monitoring|platform"
    r"|quota|targets|telemetry)/"
    r"|/numpy/(polynomial|testing)/|/psutil/_ps(aix|bsd|osx|sunos|windows)\."
)
"""Modules that no server imports: tools for developers, other protocols and systems, and the rooms of the platform."""
_RUNS = re.compile(r"^usr/(bin/python3|lib\d*/(ld-|[^/]+-linux-gnu/|python3\.\d+/(encodings|lib-dynload)/))")
"""What of the base the interpreter needs to compile."""
_SCRIPT = """
import _imp, marshal, sys
from _frozen_importlib_external import _RAW_MAGIC_NUMBER, MAGIC_NUMBER

def frames():
    while size := sys.stdin.buffer.read(4):
        yield sys.stdin.buffer.read(int.from_bytes(size, "little"))

given = frames()
for name in given:
    data = next(given)
    try:
        code = compile(data, name.decode(), "exec", dont_inherit=True)
    except (SyntaxError, ValueError):
        pyc = b""
    else:
        head = MAGIC_NUMBER + (1).to_bytes(4, "little") + _imp.source_hash(_RAW_MAGIC_NUMBER, data)
        pyc = head + marshal.dumps(code)
    sys.stdout.buffer.write(len(pyc).to_bytes(4, "little") + pyc)
"""
"""It imports nothing that is not built in: what it imports would be compiled at each start."""


class Compiler:
    """The interpreter of an image's base, laid out below `root` for the platform of this machine."""

    def __init__(self, base: Tree, root: Path, platform: Platform, python: str) -> None:
        self.root, self.python = root, python
        base.part(lambda path: bool(_RUNS.match(path))).unpack(root)
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

    def _run(self, tree: Tree, modules: list[str]) -> Iterator[bytes]:
        parts = (each for path in modules for each in (f"/{path}".encode(), tree.nodes[path].read()))
        job = b"".join(len(part).to_bytes(4, "little") + part for part in parts)
        environ = {"PYTHONHASHSEED": "0", "PYTHONHOME": str(self.root / "usr"), "LC_ALL": "C.UTF-8"}
        ran = subprocess.run(self.command, input=job, env=environ, capture_output=True, check=False)
        if ran.returncode:
            said = ran.stderr.decode(errors="replace")[-300:]
            raise BadPackage(f"the Python of the image does not run on this machine: {said}")
        return _frames(ran.stdout)


def _frames(data: bytes) -> Iterator[bytes]:
    position = 0
    while position < len(data):
        start = position + 4
        position = start + int.from_bytes(data[position:start], "little")
        yield data[start:position]
