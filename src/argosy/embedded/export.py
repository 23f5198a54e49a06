"""A model package → the folder that `argosy export c` writes. Everything is refused before anything is written."""

import msgspec

from argosy.embedded import report, selftest, verify
from argosy.embedded.code import Code, identifier
from argosy.embedded.nets.generate import net
from argosy.embedded.report import DeviceReport, check_budgets, in_words, measure
from argosy.embedded.selftest import Vectors
from argosy.embedded.tree_package import trees
from argosy.packaging.package import Package, check_tensors
from argosy.spec.errors import GoldenMismatch, InvalidArgument, Unsupported

LARGE = 32 * 1024 * 1024
"""Weights above are not tried as C, unless somebody asks for it."""


class Options(msgspec.Struct, frozen=True, kw_only=True):
    """How to export. Budgets are bytes. `verify`: run the self-test on this machine and in emulated ones."""

    max_flash: int | None = None
    max_ram: int | None = None
    verify: bool = False


class Export(msgspec.Struct, frozen=True, kw_only=True):
    """Files by name, and what is to be said of them."""

    files: dict[str, bytes]
    report: DeviceReport


class Generated(msgspec.Struct, frozen=True, kw_only=True):
    """What a generator gives: the code, the golden rows that it was checked on, and the largest difference there."""

    code: Code
    vectors: Vectors
    difference: float = 0.0


def generate(package: Package, name: str, model: str) -> Generated:
    """The C of a model, by what its weights are. `name`: that of the function. Raises Unsupported, which names what
    cannot be written in C, and GoldenMismatch."""
    check_tensors(package)
    for generator in (trees, net):
        if found := generator(package, name, model):
            return Generated(code=found[0], vectors=found[1], difference=found[2])
    engine, conversion = package.manifest.engine, package.manifest.conversion
    why = f"; it was not converted to onnx: {conversion.reason}" if engine != "onnx" else ""
    raise Unsupported(f"{model} cannot be written in C: a model of {engine}, neither trees nor a network{why}")


def chosen(package: Package, name: str, model: str, engine: str) -> Generated | str:
    """The C of a model (`engine`: auto, c), or why onnxruntime takes it (auto, onnxruntime). Raises what `generate`
    does where C is asked for."""
    if engine == "onnxruntime":
        return "asked for"
    if engine == "auto" and (size := nbytes(package)) > LARGE:
        return f"its weights take {size} bytes, which is too much for C"
    try:
        return generate(package, name, model)
    except (Unsupported, InvalidArgument, GoldenMismatch) as error:
        if engine == "c":
            raise
        return error.message


def nbytes(package: Package) -> int:
    """The size of what may become constants in C: weights of ONNX."""
    return package.weights.stat().st_size if package.manifest.engine == "onnx" else 0


def export(package: Package, name: str, model: str, options: Options) -> Export:
    """The files of `argosy export c`. Raises what `generate` does, InvalidArgument for a budget that is exceeded or a
    self-test that fails, and MissingExtra for a compiler that `verify` needs."""
    made = generate(package, identifier(name), model)
    measured = measure(made.code)
    check_budgets(measured.get(report.DEVICE, made.code.estimate), options.max_flash, options.max_ram)
    test = selftest.source(made.code, made.vectors)
    files = {**made.code.files, f"{name}_test.c": test}
    verified = verify.verify(name, files) if options.verify else verify.Verified({})
    found = DeviceReport(
        name=name,
        model=model,
        digest=package.stored or package.digest(),
        estimate=made.code.estimate,
        measured=measured,
        golden_rows=len(made.vectors.inputs[0]),
        largest_difference=made.difference,
        tolerance=made.vectors.tolerance,
        notes=made.code.notes,
        checks=verified.checks,
        instructions={board: count for board, count in verified.instructions.items() if count},
    )
    files["report.txt"] = in_words(found)
    files["report.json"] = msgspec.json.format(msgspec.json.encode(found)).decode() + "\n"
    return Export(files={path: text.encode() for path, text in files.items()}, report=found)
