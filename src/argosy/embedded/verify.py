"""Compiles generated C and runs it: the function itself on this machine, the self-test here and on boards that QEMU
emulates."""

import ctypes
import shutil
import tempfile
from pathlib import Path
from typing import NamedTuple

import numpy as np

from argosy.embedded.code import Code, resource
from argosy.embedded.report import COMPILERS, require, run
from argosy.embedded.selftest import Vectors, check
from argosy.spec.tensor import Array


class Board(NamedTuple):
    """A board that QEMU emulates: its name there, and the compiler for it."""

    machine: str
    compiler: str


BOARDS = (Board("mps2-an385", "cortex-m3"), Board("mps2-an500", "cortex-m7"))
LIBRARY = ("-std=c99", "-O2", "-ffp-contract=off", "-fPIC", "-shared")
BARE = ("startup.c", "memory.ld")
"""What a board needs beside an export: where its memory is, and what calls main and counts."""
COUNTING = ("-icount", "shift=3", "-chardev", "stdio,id=said", "-semihosting-config")
"""Each instruction takes 8 ns, a fifth of a tick of the timer, whatever this machine does meanwhile."""
STRICT = ("-std=c99", "-Os", "-Wall", "-Wextra", "-Werror")


class Verified(NamedTuple):
    """Where the self-test passed: the instructions of a prediction there, the mean of the golden examples; 0 where they
    are not counted."""

    instructions: dict[str, int]

    @property
    def checks(self) -> dict[str, str]:
        """Where the self-test ran → "passed"."""
        return dict.fromkeys(self.instructions, "passed")


def verify(name: str, files: dict[str, str]) -> Verified:
    """Compile the export and run its self-test here and on boards. Raises MissingExtra for a program that is not
    installed, InvalidArgument for C that does not compile or a self-test that fails."""
    for program, package in (("gcc", "gcc"), ("arm-none-eabi-gcc", "gcc-arm-none-eabi"), ("qemu-system-arm",) * 2):
        require(program, package, "--verify")
    with tempfile.TemporaryDirectory(prefix="argosy-verify-") as place:
        folder = Path(place)
        for file, text in {**files, **{name: resource(name) for name in BARE}}.items():
            (folder / file).write_text(text)
        on_host(name, folder)
        counts = {board.machine: on_board(name, folder, board) for board in BOARDS}
        return Verified({"this machine": 0, **counts})


def on_host(name: str, folder: Path) -> None:
    """Compile and run for this machine."""
    run(["gcc", *STRICT, f"{name}.c", f"{name}_test.c", "-o", "test"], f"gcc on {name}.c", folder)
    run([str(folder / "test")], f"the self-test of {name} on this machine", folder)


def on_board(name: str, folder: Path, board: Board) -> int:
    """Compile for a board, without a libc, and run in QEMU; the instructions of a prediction."""
    compiler = COMPILERS[board.compiler]
    sources = [f"{name}.c", f"{name}_test.c", "startup.c"]
    bare = ["-ffreestanding", "-nostdlib", "-Wl,-T,memory.ld", "-Wl,--no-warn-rwx-segments"]
    bare += [f"-Wl,--wrap={name}_predict", f'-DPREDICT="{name}_predict"']
    program = f"{board.machine}.elf"
    run(
        [compiler.program, *STRICT, *compiler.options, *bare, *sources, "-lgcc", "-o", program],
        f"{compiler.program} on {name}.c for {board.machine}",
        folder,
    )
    emulated = ["qemu-system-arm", "-M", board.machine, "-nographic", "-monitor", "none", "-serial", "none"]
    counted = [*emulated, *COUNTING, "enable=on,target=native,chardev=said", "-kernel", program]
    return int(run(counted, f"the self-test of {name} on {board.machine}", folder))


def difference(code: Code, wanted: Vectors) -> float | None:
    """The largest difference between golden examples and what the compiled C answers; None without a compiler. Raises
    GoldenMismatch, and InvalidArgument for C that does not compile."""
    if not shutil.which("gcc"):
        return None
    return check(code.outputs, wanted, answers(code, wanted.inputs), f"the C of {code.model}")


def answers(code: Code, inputs: tuple[Array, ...]) -> tuple[Array, ...]:
    """What the compiled C answers to rows: for each output port [rows, size]."""
    with tempfile.TemporaryDirectory(prefix="argosy-native-") as place:
        folder = Path(place)
        for file, text in code.files.items():
            (folder / file).write_text(text)
        run(["gcc", *LIBRARY, f"{code.name}.c", "-o", "model.so"], f"gcc on {code.name}.c", folder)
        predict = ctypes.CDLL(str(folder / "model.so"))[f"{code.name}_predict"]
        rows = [np.ascontiguousarray(each) for each in inputs]
        count = len(rows[0])
        found = [
            np.zeros((count, port.size), np.int32 if port.kind == "int32_t" else np.float32) for port in code.outputs
        ]
        for at in range(count):
            predict(*(ctypes.c_void_p(each[at].ctypes.data) for each in (*rows, *found)))
    return tuple(found)
