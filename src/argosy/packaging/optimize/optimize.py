"""Tries recipes on a version, and registers the best of those that pass the gate as the next version."""

import platform
import shutil
import time
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from argosy.packaging import lineage
from argosy.packaging.environment import Report
from argosy.packaging.examine import rows_in
from argosy.packaging.optimize import measure
from argosy.packaging.optimize.calibration import Split, split
from argosy.packaging.optimize.gate import Gate, agree, judge, winner
from argosy.packaging.optimize.recipes import FROZEN, RECIPES, Attempt
from argosy.packaging.package import INPUTS, OUTPUTS, Package, check_tensors, stored, write_manifest
from argosy.packaging.push import replay, staging
from argosy.packaging.quarantine import Limits, Quarantine
from argosy.protocol import tensorfile
from argosy.spec.errors import ArgosyError, BadPackage, InvalidArgument, MissingExtra, Unsupported
from argosy.spec.package import Conversion, Optimization, OptimizationTry
from argosy.spec.tensor import Tensor

if TYPE_CHECKING:
    from argosy.store.store import Store
    from argosy.store.version import Version

WEIGHTS = "weights/model.onnx"
CALIBRATION, TEST = "calibration.oip", "test.oip"
ROOM = "argosy.packaging.optimize"


class OptimizeOptions(msgspec.Struct, frozen=True, kw_only=True):
    """`rows` to calibrate on and to judge by; of `test` only to judge by. `recipes`: those that are tried; all, where
    none is named. `scales`: the reference of the version whose scales are taken. `dry` registers nothing."""

    rows: Path
    test: Path | None = None
    target: str = "cpu"
    gate: Gate = Gate()
    minutes: float = 5.0
    recipes: tuple[str, ...] = ()
    scales: str = ""
    dry: bool = False


class _Place(msgspec.Struct, frozen=True):
    """Where the tries are made: the child, the package, the folder."""

    child: Quarantine
    package: Package
    folder: Path
    gate: Gate

    def trial(self, model: Path, rows: Path) -> measure.Trial:
        return measure.Trial(
            weights=str(self.package.weights),
            model=str(model),
            signature=self.package.manifest.signature,
            rows=str(rows),
            into=str(self.folder),
            min_agreement=self.gate.min_agreement,
            min_speedup=self.gate.min_speedup,
        )


def optimize(
    store: "Store", ref: str, options: OptimizeOptions, report: Report
) -> "tuple[Optimization, Version | None]":
    """Try all recipes, and register the winner under the model's name. No version where none passes, and in a dry run.

    Raises NotFound, InvalidArgument for rows that do not serve and for recipes that there are not, Unsupported for a
    model that is not ONNX or has free axes beside its rows, BadPackage where the model's own answers are NaN,
    MissingExtra.
    """
    choice = [FROZEN] if options.scales else [each for each in RECIPES if each != FROZEN]
    if odd := {*options.recipes} - {*choice}:
        told = "none is chosen where scales are taken" if options.scales else f"there are {', '.join(choice)}"
        raise InvalidArgument(f"there is no recipe {min(odd)} here: {told}")
    version = store.registry.resolve(ref)
    package = check_tensors(stored(store, version.digest))
    _check(package)
    scales = store.registry.resolve(options.scales) if options.scales else None
    rows = split(package.manifest.signature, options.rows, options.test)
    began = time.monotonic()
    with staging(store.home.root) as folder:
        _write(rows, package, folder)
        limits = Limits(seconds=max(options.minutes * 60, 60.0))
        reads = [str(stored(store, scales.digest).weights)] if scales else []
        with Quarantine(version.ref, limits, reads=[str(package.folder), *reads], writes=str(folder)) as child:
            place = _Place(child, package, folder, options.gate)
            report(f"asking {version.ref} for {rows_in(rows.test)} test rows")
            _ask_parent(place, version)
            tries: list[OptimizationTry] = []
            rounding: dict[str, float] = {}
            for recipe in options.recipes or choice:
                if time.monotonic() - began > options.minutes * 60:
                    over = f"not tried: {options.minutes:g} minutes were over"
                    tries.append(OptimizationTry(recipe=recipe, rejected=over))
                    continue
                report(f"trying {recipe}")
                measured = _try(place, recipe, reads[0] if reads else "")
                tries.append(measured.figures)
                rounding[recipe] = measured.rounding
            best = winner(tries)
            found = Optimization(
                parent=version.digest,
                parent_ref=version.ref,
                target=options.target,
                processor=_processor(),
                recipe=best.recipe if best else "",
                calibration_rows=rows_in(rows.calibration),
                test_rows=rows_in(rows.test),
                min_agreement=options.gate.min_agreement,
                min_speedup=options.gate.min_speedup,
                tries=tuple(tries),
                frozen=scales.digest if scales else "",
            )
            if best is None or options.dry:
                return found, None
            report(f"packaging {best.recipe}")
            made = _package(place, version, found, rounding[best.recipe])
        difference = replay(store, made, f"the optimized {version.ref}", limits.seconds, report)[0]
        report(f"golden examples: the largest difference is {difference:g}; storing")
        here = msgspec.structs.replace(lineage.lineage_from(f"optimized from {version.ref}"), optimization=found)
        return found, store.add(made.folder, name=version.name, manifest=made.manifest, lineage=here)


def _check(package: Package) -> None:
    manifest = package.manifest
    if manifest.engine != "onnx":
        raise Unsupported(f"{manifest.name} runs on the engine {manifest.engine}; only ONNX models are optimized")
    if not manifest.signature.batched:
        raise Unsupported(f"{manifest.name} does not answer row by row, so there are no rows to agree on")
    for spec in manifest.signature.inputs:
        if free := [axis for axis, length in enumerate(spec.shape) if axis and length < 0]:
            raise Unsupported(
                f"input '{spec.name}' of {manifest.name} leaves axis {free[0]} free ({list(spec.shape)}), and figures "
                "of one length say nothing of others: export the model with fixed axes"
            )


def _write(rows: Split, package: Package, folder: Path) -> None:
    """The rows as files: to calibrate by the names of the model's own file, to judge by those of the signature."""
    own = {spec.name: spec.source or spec.name for spec in package.manifest.signature.inputs}
    named = [Tensor(own[each.name], each.datatype, each.array) for each in rows.calibration]
    tensorfile.write(folder / CALIBRATION, named)
    tensorfile.write(folder / TEST, rows.test)


def _ask_parent(place: _Place, version: "Version") -> None:
    """Raises BadPackage where the parent's own answers are no measure."""
    place.child.run(f"{ROOM}.measure:answer", place.trial(place.package.weights, place.folder / TEST), int)
    answers = (place.folder / measure.ANSWERS).rename(place.folder / measure.WANTED)
    outputs = version.manifest.signature.outputs
    want = [each.array for each in tensorfile.read(answers)][: len(outputs)]
    if broken := agree(outputs, want, want).broken:
        raise BadPackage(f"{version.ref} itself: {broken} to judge by; leave them out, or mend the model")


def _try(place: _Place, recipe: str, scales: str) -> measure.Measured:
    rows = str(place.folder / CALIBRATION)
    weights, into = str(place.package.weights), str(place.folder)
    job = Attempt(recipe=recipe, weights=weights, rows=rows, into=into, scales=scales)
    try:
        place.child.run(f"{ROOM}.recipes:attempt", job, int)
        found = place.child.run(f"{ROOM}.measure:measure", place.trial(job.made, place.folder / TEST), measure.Measured)
    except MissingExtra:
        raise
    except ArgosyError as error:
        why = f"failed: {' '.join(error.message.split())[:300]}"
        return measure.Measured(figures=OptimizationTry(recipe=recipe, rejected=why), rounding=0.0)
    verdict = found.figures.rejected or judge(place.gate, found.figures)
    return msgspec.structs.replace(found, figures=msgspec.structs.replace(found.figures, rejected=verdict))


def _package(place: _Place, version: "Version", found: Optimization, rounding: float) -> Package:
    """The parent's package with other weights, and as golden examples what these give. Their tolerance is four times
    what a row alone differs from the same row among others: as much as kernels of other machines may round."""
    folder, model, old = place.folder / "package", place.folder / f"{found.recipe}.onnx", place.package
    place.child.run(f"{ROOM}.measure:answer", place.trial(model, old.folder / INPUTS), int)
    shutil.copytree(old.folder, folder, ignore=shutil.ignore_patterns("weights"), copy_function=shutil.copyfile)
    (folder / WEIGHTS).parent.mkdir()
    shutil.copyfile(model, folder / WEIGHTS)
    shutil.copyfile(place.folder / measure.ANSWERS, folder / OUTPUTS)
    tolerance = version.manifest.tolerance
    tolerance = msgspec.structs.replace(tolerance, atol=max(tolerance.atol, float(f"{4 * rounding:.0e}")))
    manifest = msgspec.structs.replace(
        version.manifest,
        tolerance=tolerance,
        weights=WEIGHTS,
        source=lineage.source_of(model, folder / WEIGHTS, "onnx", model.stat().st_size),
        conversion=Conversion(source="onnx", converted=True, reason=f"{found.recipe}, made of {version.digest[:19]}"),
    )
    write_manifest(folder, manifest)
    return Package(folder, manifest)


def _processor() -> str:
    """What the figures were measured on."""
    with suppress(OSError):
        for line in Path("/proc/cpuinfo").read_text(errors="replace").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.machine()
