"""Builds a package folder from a model: copy, scan, examine, convert, write `model.yaml`."""

import re
import shutil
from pathlib import Path
from typing import TypeVar

import msgspec

from argosy.engines import onnx_file
from argosy.engines.renamed import name_classes, rename
from argosy.packaging import (
    code,
    convert,
    encoder,
    environment,
    examine,
    licence,
    lineage,
    profile,
    requirements,
    zipmap,
)
from argosy.packaging.conversions import said
from argosy.packaging.detect import ENGINE_OF, Found, detect, is_language
from argosy.packaging.environment import Report
from argosy.packaging.examine import Findings, Task
from argosy.packaging.options import PushOptions
from argosy.packaging.package import INPUTS, LICENSE, OUTPUTS, PROFILE, REQUIREMENTS, write_manifest
from argosy.packaging.quarantine import GIB, Limits, Quarantine
from argosy.packaging.requirements import Needs
from argosy.packaging.scan import Scanned, ScanResult
from argosy.protocol import tensorfile
from argosy.spec.endpoint import check_name
from argosy.spec.errors import ArgosyError, BadPackage, NotFound, PayloadTooLarge, Unsupported, Untrusted
from argosy.spec.language import LanguageModel
from argosy.spec.package import DATA_ONLY, Conversion, ModelManifest, Scan, Source
from argosy.spec.settings import Home, home
from argosy.spec.signature import Signature, TensorSpec
from argosy.store.durable import storage

SUFFIX = {
    "onnx": ".onnx",
    "skops": ".skops",
    "joblib": ".joblib",
    "pickle": ".pkl",
    "xgboost-json": ".json",
    "xgboost-ubj": ".ubj",
    "lightgbm-text": ".txt",
    "catboost": ".cbm",
    "torch-export": ".pt2",
    "python": ".py",
}
T = TypeVar("T")


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
    report: Report
    modules: tuple[str, ...] = ()
    language: LanguageModel | None = None

    @property
    def path(self) -> Path:
        """What the engine loads."""
        return self.folder / self.weights

    def run(self, function: str, job: msgspec.Struct, answer: type[T]) -> T:
        """Run a job on this model in quarantine. Messages name the model as the user knows it, not our copy."""
        try:
            return self.quarantine.run(f"argosy.packaging.{function}", job, answer)
        except ArgosyError as error:
            own = rf"{re.escape(str(self.path))}|(?<![\w/.-]){re.escape(self.path.name)}(?!\w)"
            named = re.sub(own, lambda _: self.found.path.name, error.message) if self.path.suffix else error.message
            raise type(error)(named) from None

    def task(self, signature: Signature | None = None) -> Task:
        """The model as a job. To name a file or folder of Python code is to want it run."""
        sample = self.options.sample
        return Task(
            engine=self.engine,
            weights=str(self.path),
            settings=self.settings,
            sample=str(sample.absolute()) if sample and signature is None else "",
            tolerance=self.options.tolerance,
            into=str(self.work),
            trusted=self.options.trust or self.found.format == "python" or bool(self.modules),
            signature=signature,
        )


def build(
    source: Path, name: str, into: Path, options: PushOptions, report: Report, place: Home | None = None
) -> ModelManifest:
    """Make the package folder `into` (which must not exist) from a model file or folder.

    The model is run in child processes only; what it requires is installed by way of the home `place`. Raises NotFound,
    BadPackage, Untrusted, InvalidArgument, MissingExtra, Unavailable, PayloadTooLarge, StorageFull; what was written so
    far is for the caller to remove.
    """
    check_name(name, "model name")
    if source.is_symlink():
        raise BadPackage(f"{source} is a symbolic link; push {source.resolve()} itself")
    if not source.exists():
        raise NotFound(f"there is no file or folder {source}")
    if is_language(source):
        raise Unsupported(
            f"{source.name} is a language model, which an engine of its own serves and which is asked by OpenAI's API: "
            f"argosy push {source} --name NAME  and  argosy deploy NAME:1"
        )
    files = lineage.files_of(source, options.max_bytes)
    if (size := sum(entry.size for entry in files)) > options.max_bytes:
        raise PayloadTooLarge(f"{source} has {size} bytes; a package may have {options.max_bytes}")
    if options.sample is not None and not options.sample.is_file():
        raise NotFound(f"there is no sample {options.sample}")
    found = detect(source, options.engine or None)
    size += sum((source.parent / name).stat().st_size for name in found.beside)
    report(f"{source.name}: {found.format}, {size:,} bytes")
    limits = Limits(seconds=options.seconds, address_space=16 * GIB + 4 * size)
    packages = _installed(found, options, report, place or home())
    work = into.with_name(into.name + ".work")
    reads = [str(each.absolute()) for each in (into / "weights", options.sample) if each]
    with storage(into.parent), Quarantine(source.name, limits, 0, reads, str(work), packages) as quarantine:
        draft = _copied(found, into, work, options, quarantine, report)
        _without_zipmap(draft)
        _encoder(draft)
        scanned = _scan(draft)
        findings = _examine(draft)
        conversion, signature = _convert(draft, findings.signature)
        return _write(draft, name, scanned, findings, conversion, signature)


def _installed(found: Found, options: PushOptions, report: Report, place: Home) -> Path | None:
    """The environment of what the user says that the model requires, where that is lacking. Raises MissingExtra where
    it may not be made, and what `environment.prepare` raises."""
    lines = _said(found, options)
    if not environment.lacking(place, lines):
        return None
    named = found.format == "python" and (found.path.is_dir() or found.path.suffix == ".py")
    needs = Needs(lines, named or options.trust or options.code is not None)
    made = environment.prepare(place, needs, report) if options.install else None
    if made is None:
        requirements.check_installed(lines)
    return made


def vouched(manifest: ModelManifest, options: PushOptions) -> bool:
    """Whether whoever had this package built vouches for the code in its source, if there may be any."""
    return manifest.scan.verdict == "code" or (options.trust and manifest.scan.verdict != "data-only")


def _copied(
    found: Found, into: Path, work: Path, options: PushOptions, quarantine: Quarantine, report: Report
) -> Draft:
    (into / "weights").mkdir(parents=True)
    (into / "golden").mkdir()
    work.mkdir()
    weights, settings = "weights/model", dict(found.settings)
    target = into / weights
    if found.path.is_dir():
        chosen = set(encoder.files(found.path)) if found.format == "encoder" else None
        for entry in lineage.files_of(found.path, options.max_bytes):
            if chosen is not None and entry.path not in chosen:
                continue
            if found.format == "python" and not set(code.IGNORED).isdisjoint(entry.path.split("/")):
                continue
            place = target / entry.path
            place.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(entry.file, place, follow_symlinks=False)
        weights += f"/{found.entry}" if found.entry else ""
    elif found.format == "python":
        target = target / "model.py"
        target.parent.mkdir()
        shutil.copyfile(found.path, target)
        settings["class"] = f"model:{str(settings['class']).partition(':')[2]}"
    elif found.beside:
        weights += f"/{found.path.name}"
        for name in (found.path.name, *found.beside):
            (target / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(found.path.parent / name, target / name, follow_symlinks=False)
    else:
        weights += SUFFIX[found.format]
        target = into / weights
        shutil.copyfile(found.path, target)
    modules = code.copy(options.code, found.format, into / weights, options.max_bytes) if options.code else ()
    return Draft(
        folder=into,
        work=work,
        found=found,
        options=options,
        weights=weights,
        engine=found.engine,
        settings=settings,
        source=lineage.source_of(found.path, target, found.format, options.max_bytes),
        quarantine=quarantine,
        report=report,
        modules=modules,
    )


def _without_zipmap(draft: Draft) -> None:
    """Give an ONNX classifier probabilities in place of a map, which no request can carry."""
    if draft.found.format != "onnx" or zipmap.NODE not in onnx_file.inspect(draft.path).nodes:
        return
    task = zipmap.CutTask(weights=str(draft.path), into=str(draft.work))
    for name, classes in draft.run("zipmap:cut", task, dict[str, tuple[str, ...]]).items():
        draft.report(f"output {name}: a tensor in place of ZipMap; classes {', '.join(classes[:8])}")
    (draft.work / draft.path.name).replace(draft.path)


def _encoder(draft: Draft) -> None:
    """Give an encoder its graph, and learn how it pools."""
    if draft.found.format != "encoder":
        return
    job = encoder.Unprepared(weights=str(draft.path), into=str(draft.work))
    prepared = draft.run("encoder:prepare", job, encoder.Prepared)
    if prepared.made:
        (draft.work / encoder.MODEL).replace(draft.path / encoder.MODEL)
    draft.settings, draft.language = prepared.settings, prepared.language
    known, most = prepared.settings, prepared.language.context
    about = known.get("pooling", "a score for a query and a document")
    draft.report(f"{prepared.language.kind}: {about}, texts of more than {most} tokens are cut")


def _scan(draft: Draft) -> ScanResult:
    """Scan the copy and show the verdict. Raises Untrusted where there are objections that nobody overrules."""
    found, trusted = draft.found, draft.options.trust
    if ENGINE_OF[found.format] in DATA_ONLY:
        return ScanResult(Scan(verdict="data-only"))
    if found.format == "python" and found.path.is_file() and found.path.suffix != ".py" and not trusted:
        raise Untrusted(
            f"{found.path.name} is Python code under another name than .py; if that is what you want to run, push it "
            "again with --trust"
        )
    where = draft.path if found.format != "python" else draft.folder / "weights"
    scanned = draft.run("scan:job", Scanned(path=str(where), kind=found.format), ScanResult)
    objections = code.foreign(scanned.scan.objections, draft.modules)
    if draft.modules and not objections:
        draft.report(f"scan: code {', '.join(draft.modules[:20])}")
        return msgspec.structs.replace(scanned, scan=Scan(verdict="code"))
    draft.report(f"scan: {scanned.scan.verdict}" + "".join(f"\n  {name}" for name in objections[:20]))
    if objections and not trusted:
        names = ", ".join(objections[:8]) + (", …" if len(objections) > 8 else "")
        if any(name.startswith("torch.") for name in objections):
            raise BadPackage(f"{found.path.name} looks like {said('torch_weights', found.path.name)}")
        sample = " and --sample" if any(name.startswith("statsmodels.") for name in objections) else ""
        raise Untrusted(
            f"loading {found.path.name} would use {names}, which Argosy does not vouch for; if you know where the file "
            f"comes from, push it again with --trust{sample}. Code of your own that it needs goes with --code"
        )
    return msgspec.structs.replace(scanned, scan=msgspec.structs.replace(scanned.scan, trusted=bool(objections)))


def _examine(draft: Draft) -> Findings:
    sample = draft.options.sample
    draft.report(f"running the model on {sample.name if sample else 'made-up rows (no sample given)'}")
    return draft.run("examine:examine", draft.task(), Findings)


def _in_words(specs: tuple[TensorSpec, ...]) -> str:
    return ", ".join(f"{spec.name} {spec.datatype} {list(spec.shape)}" for spec in specs[:6])


def _convert(draft: Draft, signature: Signature) -> tuple[Conversion, Signature]:
    """What becomes of the model. A conversion that fails, whatever the way, leaves it as it is."""
    engine = draft.engine
    if engine not in examine.CONVERTED:
        return Conversion(source=engine, converted=False, reason=f"{engine} runs as it is"), signature
    if not draft.options.convert:
        return Conversion(source=engine, converted=False, reason="conversion was switched off"), signature
    draft.report("converting to ONNX")
    try:
        always = msgspec.structs.replace(signature, on_request=())
        conversion, converted = draft.run("convert:convert", draft.task(always), convert.Outcome)
    except ArgosyError as error:
        conversion = Conversion(source=engine, converted=False, reason=f"the conversion failed: {error}")
        converted = None
    if converted is not None and signature.on_request:
        more = ", ".join(spec.name for spec in signature.on_request)
        reason = f"{conversion.reason}; with --no-convert it also gives {more}"
        conversion = msgspec.structs.replace(conversion, reason=reason)
    draft.report(conversion.reason)
    if converted is None:
        return conversion, signature
    draft.path.unlink()
    shutil.rmtree(draft.path.parent / code.FOLDER, ignore_errors=True)
    draft.weights, draft.engine, draft.settings = f"weights/{convert.MODEL}", "onnx", {}
    (draft.work / convert.MODEL).replace(draft.path)
    return conversion, converted


def _write(
    draft: Draft, name: str, scanned: ScanResult, findings: Findings, conversion: Conversion, signature: Signature
) -> ModelManifest:
    """Golden examples, profile, requirements, licence and `model.yaml`; then the working folder goes."""
    folder, options, found = draft.folder, draft.options, draft.found
    answers = {tensor.name: tensor.array for tensor in tensorfile.read(draft.work / examine.GOLDEN_OUT)}
    signature = name_classes(signature, options.classes, answers)
    signature = rename(signature, options.input_names or findings.sample_names, options.output_names)
    draft.report(f"signature: {_in_words(signature.inputs)} → {_in_words(signature.outputs)}")
    for path, made, specs in (
        (INPUTS, examine.GOLDEN_IN, signature.inputs),
        (OUTPUTS, examine.GOLDEN_OUT, signature.every_output),
    ):
        names = {spec.source or spec.name: spec.name for spec in specs}
        tensors = tensorfile.read(draft.work / made)
        known = [msgspec.structs.replace(one, name=names[one.name]) for one in tensors if one.name in names]
        tensorfile.write(folder / path, known)
    if (draft.work / examine.PROFILE).exists():
        about = msgspec.json.decode((draft.work / examine.PROFILE).read_bytes(), type=profile.Profile)
        (folder / PROFILE).write_bytes(profile.dump(profile.renamed(about, signature)))
    needs = _requirements(draft, scanned.packages)
    (folder / REQUIREMENTS).write_text("".join(f"{line}\n" for line in needs), "utf-8")
    license_file = licence.file_beside(found.path)
    if license_file is not None:
        shutil.copyfile(license_file, folder / LICENSE)
    manifest = ModelManifest(
        name=name,
        engine=draft.engine,
        weights=draft.weights,
        signature=signature,
        source=draft.source,
        conversion=conversion,
        scan=scanned.scan,
        tolerance=options.tolerance,
        requirements=needs,
        settings=draft.settings,
        license=licence.name_of(found, license_file, options.license),
        description=options.description,
        untrusted=options.untrusted,
        golden_rows=findings.golden_rows,
        language=draft.language,
    )
    write_manifest(folder, manifest)
    shutil.rmtree(draft.work)
    for bytecode in list(folder.rglob("__pycache__")):
        shutil.rmtree(bytecode)
    return manifest


def _requirements(draft: Draft, packages: tuple[str, ...]) -> tuple[str, ...]:
    """What the user says, else what the model brings along, else the framework installed now."""
    if draft.options.requirements or draft.engine == "python":
        return _said(draft.found, draft.options)
    return requirements.of_engine(draft.engine, packages if draft.engine == "sklearn" else ())


def _said(found: Found, options: PushOptions) -> tuple[str, ...]:
    """The requirements that the user names, or that lie beside code of theirs."""
    beside = (found.path if found.path.is_dir() else found.path.parent) / REQUIREMENTS
    if options.requirements or found.engine != "python" or not beside.is_file():
        return requirements.check_all(options.requirements)
    return requirements.read(beside)
