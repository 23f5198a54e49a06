"""Builds a package folder from a model: copy, scan, examine, convert, write `model.yaml`."""

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

import msgspec

from argosy.engines import wire
from argosy.packaging import convert, examine, lineage, mlmodel, requirements
from argosy.packaging.detect import Found, detect
from argosy.packaging.options import PushOptions
from argosy.packaging.package import INPUTS, LICENSE, OUTPUTS, PROFILE, REQUIREMENTS, write_manifest
from argosy.packaging.quarantine import GIB, Limits, Quarantine
from argosy.packaging.scan import Scanned, ScanResult
from argosy.protocol import tensorfile
from argosy.spec.endpoint import check_name
from argosy.spec.errors import ArgosyError, BadPackage, NotFound, PayloadTooLarge, Untrusted
from argosy.spec.package import Conversion, ModelManifest, Scan, Source
from argosy.spec.signature import Signature
from argosy.store.durable import storage

NAMES = ("LICENSE", "LICENSE.txt", "LICENSE.md", "LICENCE", "LICENCE.txt", "COPYING")
_MAX_BYTES = 1024 * 1024

_KNOWN = {
    "apache license": "Apache-2.0",
    "mit license": "MIT",
    "bsd 3-clause": "BSD-3-Clause",
    "bsd 2-clause": "BSD-2-Clause",
    "mozilla public license version 2.0": "MPL-2.0",
    "gnu general public license": "GPL",
    "creative commons attribution 4.0": "CC-BY-4.0",
}


def file_beside(source: Path) -> Path | None:
    """The licence file in the folder of the model, or in the model that is a folder."""
    folder = source if source.is_dir() else source.parent
    paths = [folder / name for name in NAMES]
    return next((p for p in paths if p.is_file() and not p.is_symlink() and p.stat().st_size <= _MAX_BYTES), None)


def name_of(found: Found, file: Path | None, said: str) -> str:
    """The SPDX name where it can be told, the model's own words otherwise; empty where nothing says."""
    if said:
        return said
    if file is not None:
        head = file.read_text("utf-8", errors="replace")[:400].lower()
        return next((spdx for words, spdx in _KNOWN.items() if words in " ".join(head.split())), "see LICENSE")
    if found.format == "mlflow":
        return mlmodel.licence(found.path)
    return onnx_metadata(found.path / found.entry).get("license", "")[:200] if found.format == "onnx" else ""


def onnx_metadata(path: Path) -> dict[str, str]:
    """metadata_props (field 14 of onnx.ModelProto) as text."""
    import mmap

    found: dict[str, str] = {}
    with path.open("rb") as handle, mmap.mmap(handle.fileno(), 0, access=mmap.ACCESS_READ) as data:
        try:
            for prop in wire.fields(data, 0, len(data)):
                if prop.number == 14 and prop.wire == wire.BYTES:
                    pair = {field.number: wire.text(data, field) for field in wire.fields(data, prop.start, prop.end)}
                    found[pair.get(1, "")] = pair.get(2, "")
        except BadPackage:
            return {}
    return found


Report = Callable[[str], None]
T = TypeVar("T")

SUFFIX = {
    "onnx": ".onnx",
    "skops": ".skops",
    "joblib": ".joblib",
    "pickle": ".pkl",
    "xgboost-json": ".json",
    "xgboost-ubj": ".ubj",
    "lightgbm-text": ".txt",
    "torch-export": ".pt2",
    "python": ".py",
}
IGNORED = ("__pycache__", ".git", ".ipynb_checkpoints", ".DS_Store", ".mypy_cache", ".ruff_cache", ".venv")
"""Names that are left out of a folder of Python code."""


class Draft(msgspec.Struct, kw_only=True):
    """A package while it is being built: the folder, and what is known so far."""

    folder: Path
    work: Path
    found: Found
    options: PushOptions
    weights: str
    engine: str
    settings: dict[str, str | int | float | bool]
    source: Source
    quarantine: Quarantine

    @property
    def trusted(self) -> bool:
        """Whether whoever pushes it vouches for it. To name a file or folder of Python code is to want it run."""
        return self.options.trust or self.found.format == "python"

    @property
    def path(self) -> Path:
        """What the engine loads."""
        return self.folder / self.weights

    def run(self, function: str, job: msgspec.Struct, answer: type[T]) -> T:
        """Run a job on this model in quarantine. Messages name the model as the user knows it, not our copy."""
        try:
            return self.quarantine.run(function, job, answer)
        except ArgosyError as error:
            raise type(error)(error.message.replace(str(self.path), self.found.path.name)) from None


def build(source: Path, name: str, into: Path, options: PushOptions, report: Report) -> ModelManifest:
    """Make the package folder `into` (which must not exist) from a model file or folder.

    The model is run in child processes only. Raises NotFound, BadPackage, Untrusted, InvalidArgument, MissingExtra,
    PayloadTooLarge, StorageFull; what was written so far is for the caller to remove.
    """
    check_name(name, "model name")
    check_source(source, options.max_bytes)
    if options.sample is not None and not options.sample.is_file():
        raise NotFound(f"there is no sample {options.sample}")
    found = detect(source, options.engine or None)
    report(f"{source.name}: {found.format}, {_human(_size(source, options.max_bytes))}")
    with storage(into.parent), Quarantine(source.name, limits_for(source, options)) as place:
        draft = copy(found, into, options, place)
        finding = scan(draft, report)
        findings = _examine(draft, report)
        conversion, signature = _convert(draft, findings.signature, report)
        return _write(draft, name, finding, findings, conversion, signature)


def vouched(manifest: ModelManifest, options: PushOptions) -> bool:
    """Whether whoever had this package built vouches for the code in its source, if there may be any."""
    return manifest.scan.verdict == "code" or (options.trust and manifest.scan.verdict != "data-only")


def limits_for(source: Path, options: PushOptions) -> Limits:
    """Room for four times the model's size beside what the frameworks take."""
    return Limits(seconds=options.seconds, address_space=16 * GIB + 4 * _size(source, options.max_bytes))


def check_source(source: Path, limit: int) -> None:
    """Raise unless there is a source that is no symlink and within the limit, in bytes."""
    if source.is_symlink():
        raise BadPackage(f"{source} is a symbolic link; push {source.resolve()} itself")
    if not source.exists():
        raise NotFound(f"there is no file or folder {source}")
    if (size := _size(source, limit)) > limit:
        raise PayloadTooLarge(f"{source} has {size} bytes; a package may have {limit}")


def _size(source: Path, limit: int) -> int:
    return sum(entry.size for entry in lineage.files_of(source, limit)) if source.is_dir() else source.stat().st_size


def _human(size: float) -> str:
    for unit in ("bytes", "kB", "MB"):
        if size < 1000:
            return f"{size:.3g} {unit}"
        size /= 1000
    return f"{size:.3g} GB"


def copy(found: Found, into: Path, options: PushOptions, place: Quarantine) -> Draft:
    """Copy the model below `into`, so that nothing its owner changes later matters."""
    work = into.with_name(into.name + ".work")
    (into / "weights").mkdir(parents=True)
    (into / "golden").mkdir()
    work.mkdir()
    weights = f"weights/model{'' if found.format == 'mlflow' or found.path.is_dir() else SUFFIX[found.format]}"
    settings = dict(found.settings)
    target = into / weights
    if found.path.is_dir():
        _copy_folder(found, target, options.max_bytes)
        weights += f"/{found.entry}" if found.entry else ""
    elif found.format == "python":
        weights = "weights/model"
        target = into / weights / "model.py"
        target.parent.mkdir()
        shutil.copyfile(found.path, target)
        settings["class"] = f"model:{str(settings['class']).partition(':')[2]}"
    else:
        shutil.copyfile(found.path, target)
    return Draft(
        folder=into,
        work=work,
        found=found,
        options=options,
        weights=weights,
        engine=found.engine,
        settings=settings,
        source=lineage.source_of(found.path, target, found.format, options.max_bytes),
        quarantine=place,
    )


def _copy_folder(found: Found, target: Path, limit: int) -> None:
    for entry in lineage.files_of(found.path, limit):
        parts = entry.path.split("/")
        if found.format == "python" and any(part in IGNORED for part in parts):
            continue
        place = target / entry.path
        place.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(entry.file, place, follow_symlinks=False)


def scan(draft: Draft, report: Report) -> ScanResult:
    """Scan the copy and show the verdict. Raises Untrusted where there are objections that nobody overrules."""
    found = draft.found
    if not found.can_run_code:
        return ScanResult(Scan(verdict="data-only"))
    if found.format == "python" and found.path.is_file() and found.path.suffix != ".py" and not draft.options.trust:
        raise Untrusted(
            f"{found.path.name} is Python code under another name than .py; if that is what you want to run, push it "
            "again with --trust"
        )
    where = draft.path if draft.found.format != "python" else draft.folder / "weights"
    finding = draft.run("argosy.packaging.scan:job", Scanned(path=str(where), kind=found.format), ScanResult)
    verdict = finding.scan
    report(f"scan: {verdict.verdict}" + "".join(f"\n  {name}" for name in verdict.objections[:20]))
    if verdict.objections and not draft.options.trust:
        names = ", ".join(verdict.objections[:8]) + (", …" if len(verdict.objections) > 8 else "")
        raise Untrusted(
            f"loading {found.path.name} would use {names}, which Argosy does not vouch for; if you know where the file "
            "comes from, push it again with --trust"
        )
    trusted = bool(verdict.objections)
    return msgspec.structs.replace(finding, scan=msgspec.structs.replace(verdict, trusted=trusted))


def _examine(draft: Draft, report: Report) -> examine.Findings:
    sample = draft.options.sample
    report(f"running the model on {sample.name if sample else 'made-up rows (no sample given)'}")
    task = examine.Task(
        engine=draft.engine,
        weights=str(draft.path),
        settings=draft.settings,
        sample=str(sample.absolute()) if sample else "",
        tolerance=draft.options.tolerance,
        into=str(draft.work),
        trusted=draft.trusted,
    )
    findings = draft.run("argosy.packaging.examine:examine", task, examine.Findings)
    takes = ", ".join(f"{spec.name} {spec.datatype} {list(spec.shape)}" for spec in findings.signature.inputs[:6])
    gives = ", ".join(f"{spec.name} {spec.datatype} {list(spec.shape)}" for spec in findings.signature.outputs[:6])
    report(f"signature: {takes} → {gives}")
    return findings


def _convert(draft: Draft, signature: Signature, report: Report) -> tuple[Conversion, Signature]:
    """What becomes of the model. A conversion that fails, whatever the way, leaves it as it is."""
    engine = draft.engine
    if engine != "sklearn":
        return Conversion(source=engine, converted=False, reason=f"{engine} runs as it is"), signature
    if not draft.options.convert:
        return Conversion(source=engine, converted=False, reason="conversion was switched off"), signature
    report("converting to ONNX")
    verdict = _verdict(draft, signature)
    report(verdict.reason)
    conversion = Conversion(
        source=engine, converted=verdict.converted, reason=verdict.reason, max_abs_diff=verdict.max_abs_diff
    )
    if not verdict.converted or verdict.signature is None:
        return conversion, signature
    draft.path.unlink()
    draft.weights, draft.engine, draft.settings = f"weights/{convert.MODEL}", "onnx", {}
    (draft.work / convert.MODEL).replace(draft.path)
    return conversion, verdict.signature


def _verdict(draft: Draft, signature: Signature) -> convert.Conversion:
    task = convert.Task(
        weights=str(draft.path),
        settings=draft.settings,
        signature=signature,
        tolerance=draft.options.tolerance,
        into=str(draft.work),
        trusted=draft.trusted,
    )
    try:
        return draft.run("argosy.packaging.convert:convert", task, convert.Conversion)
    except ArgosyError as error:
        return convert.Conversion(converted=False, reason=f"the conversion failed: {error}")


def _write(
    draft: Draft,
    name: str,
    finding: ScanResult,
    findings: examine.Findings,
    conversion: Conversion,
    signature: Signature,
) -> ModelManifest:
    """Golden examples, profile, requirements, licence and `model.yaml`; then the working folder goes."""
    folder, options, found = draft.folder, draft.options, draft.found
    for path, made, specs in (
        (INPUTS, examine.GOLDEN_IN, signature.inputs),
        (OUTPUTS, examine.GOLDEN_OUT, signature.outputs),
    ):
        tensorfile.write(folder / path, convert.recast(tensorfile.read(draft.work / made), specs))
    if (draft.work / examine.PROFILE).exists():
        (draft.work / examine.PROFILE).replace(folder / PROFILE)
    needs = _requirements(draft, finding)
    (folder / REQUIREMENTS).write_text("".join(f"{line}\n" for line in needs), "utf-8")
    license_file = file_beside(found.path)
    if license_file is not None:
        shutil.copyfile(license_file, folder / LICENSE)
    manifest = ModelManifest(
        name=name,
        engine=draft.engine,
        weights=draft.weights,
        signature=signature,
        source=draft.source,
        conversion=conversion,
        scan=finding.scan,
        tolerance=options.tolerance,
        requirements=needs,
        settings=draft.settings,
        license=name_of(found, license_file, options.license),
        description=options.description,
        golden_rows=findings.golden_rows,
    )
    write_manifest(folder, manifest)
    shutil.rmtree(draft.work)
    for bytecode in list(folder.rglob("__pycache__")):
        shutil.rmtree(bytecode)
    return manifest


def _requirements(draft: Draft, finding: ScanResult) -> tuple[str, ...]:
    """What the user says, else what the model brings along, else the framework installed now."""
    if draft.options.requirements:
        return requirements.check_all(draft.options.requirements)
    source = draft.found.path
    beside = (source if source.is_dir() else source.parent) / REQUIREMENTS
    if draft.engine == "python":
        return requirements.read(beside) if beside.is_file() else ()
    return requirements.of_engine(draft.engine, finding.packages if draft.engine == "sklearn" else ())
