"""What generated C takes of a device: from the compiled ELF where a compiler is here, else as its generator
estimates."""

import shutil
import subprocess
import tempfile
from pathlib import Path
from typing import NamedTuple

import msgspec

from argosy.embedded.code import Code, Sizes
from argosy.spec.errors import InvalidArgument, MissingExtra
from argosy.spec.package import Tolerance

SECONDS = 300


class Compiler(NamedTuple):
    """A compiler for a kind of machine: the prefix of its programs, its options, and the package of Debian with it."""

    prefix: str
    options: tuple[str, ...]
    package: str

    @property
    def program(self) -> str:
        """Its name."""
        return f"{self.prefix}gcc"


COMPILERS = {
    "host": Compiler("", (), "gcc"),
    "cortex-m3": Compiler("arm-none-eabi-", ("-mcpu=cortex-m3", "-mthumb"), "gcc-arm-none-eabi"),
    "cortex-m7": Compiler("arm-none-eabi-", ("-mcpu=cortex-m7", "-mthumb"), "gcc-arm-none-eabi"),
}
DEVICE = "cortex-m3"
"""The machine that budgets are for."""


class DeviceReport(msgspec.Struct, frozen=True, kw_only=True):
    """`report.json`. `measured`: machine → sizes from its ELF; `checks`: where the self-test ran, and what came of it;
    `instructions`: board → those that QEMU counted in a prediction, the mean of the golden examples."""

    name: str
    model: str
    digest: str
    estimate: Sizes
    measured: dict[str, Sizes]
    golden_rows: int
    largest_difference: float
    tolerance: Tolerance
    notes: tuple[str, ...] = ()
    checks: dict[str, str] = {}
    instructions: dict[str, int] = {}

    @property
    def sizes(self) -> Sizes:
        """Those of the device, measured if they can be."""
        return self.measured.get(DEVICE, self.estimate)


def require(program: str, package: str, what: str) -> None:
    """Raise MissingExtra, which names the package of Debian, where a program is not installed."""
    if not shutil.which(program):
        raise MissingExtra(f"{what} needs {program}, which is not installed: run  apt-get install {package}")


def run(command: list[str], what: str, folder: Path) -> str:
    """What a program printed. Raises InvalidArgument with the end of what it said where it fails."""
    try:
        ran = subprocess.run(
            command, cwd=folder, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=SECONDS, check=False
        )
    except subprocess.TimeoutExpired:
        raise InvalidArgument(f"{what} took more than {SECONDS} s") from None
    if ran.returncode:
        raise InvalidArgument(
            f"{what} failed (exit status {ran.returncode}): {(ran.stderr or ran.stdout)[-800:].strip()}"
        )
    return ran.stdout


def measure(code: Code) -> dict[str, Sizes]:
    """Sizes on each machine that a compiler is here for."""
    found: dict[str, Sizes] = {}
    with tempfile.TemporaryDirectory(prefix="argosy-c-") as name:
        folder = Path(name)
        for file, text in code.files.items():
            (folder / file).write_text(text)
        for machine, compiler in COMPILERS.items():
            if shutil.which(compiler.program):
                found[machine] = _measured(code, folder, compiler)
    return found


def _measured(code: Code, folder: Path, compiler: Compiler) -> Sizes:
    command = [compiler.program, "-std=c99", "-Os", "-fstack-usage", *compiler.options, "-c", f"{code.name}.c"]
    run(command, f"{compiler.program} on {code.name}.c", folder)
    text, data, bss = run([f"{compiler.prefix}size", f"{code.name}.o"], "size", folder).splitlines()[1].split()[:3]
    usage = (folder / f"{code.name}.su").read_text().splitlines()
    return Sizes(
        flash=int(text) + int(data),
        ram=int(data) + int(bss),
        stack=sum(int(line.split("\t")[1]) for line in usage),
        operations=code.estimate.operations,
    )


def check_budgets(sizes: Sizes, max_flash: int | None, max_ram: int | None) -> None:
    """Raise InvalidArgument where flash, or RAM with the stack, is above what was declared."""
    for name, has, most in (("flash", sizes.flash, max_flash), ("ram", sizes.ram + sizes.stack, max_ram)):
        if most is not None and has > most:
            raise InvalidArgument(
                f"the model takes {has} bytes of {name}, and --max-{name} is {most}: train a smaller one (fewer or "
                "shallower trees, fewer or narrower layers); nothing was written"
            )


def in_words(report: DeviceReport) -> str:
    """`report.txt`."""
    lines = [f"{report.name}_predict: {report.model} ({report.digest})", ""]
    lines.append(f"{'':12}{'flash':>9}{'RAM':>9}{'stack':>9}   bytes")
    for machine, sizes in {**report.measured, "estimate": report.estimate}.items():
        lines.append(f"{machine:12}{sizes.flash:>9}{sizes.ram:>9}{sizes.stack:>9}")
    lines += ["", f"operations of a row, at most: {report.estimate.operations}"]
    lines.append(f"golden examples: {report.golden_rows}, largest difference {report.largest_difference:.2g}")
    lines += [f"self-test on {place}: {said}" for place, said in report.checks.items()]
    lines += [f"instructions of a prediction on {board}: {count}" for board, count in report.instructions.items()]
    return "\n".join((*lines, *report.notes)) + "\n"
