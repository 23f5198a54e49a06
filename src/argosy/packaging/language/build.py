"""Builds the package of a language model: its weights copied and hashed in one pass, its chat template read, golden
examples made by the engine that will run it."""

import shutil
from pathlib import Path

import msgspec

from argosy.packaging import licence
from argosy.packaging.detect import Found
from argosy.packaging.environment import Report
from argosy.packaging.language import adapter, golden, template
from argosy.packaging.language.engine import Running, identity
from argosy.packaging.lineage import folder_digest
from argosy.packaging.options import PushOptions
from argosy.packaging.package import LICENSE, REQUIREMENTS, Package, write_manifest
from argosy.packaging.quarantine import Limits, Quarantine
from argosy.spec.errors import InvalidArgument, PayloadTooLarge, Untrusted
from argosy.spec.language import LanguageModel
from argosy.spec.package import Conversion, ModelManifest, Scan, Source
from argosy.spec.signature import Signature, TensorSpec
from argosy.store.copies import copy

SIGNATURE = Signature(
    inputs=(TensorSpec(name="prompt", datatype="BYTES", shape=(-1,)),),
    outputs=(TensorSpec(name="text", datatype="BYTES", shape=(-1,)),),
)
"""Of every language model, as far as tensors go: it is asked by OpenAI's API."""


class Built(msgspec.Struct, frozen=True, kw_only=True):
    """A package folder that is complete. `hashed`: package path → digest of what was copied into it."""

    manifest: ModelManifest
    hashed: dict[str, str]


def build(
    found: Found,
    name: str,
    into: Path,
    options: PushOptions,
    report: Report,
    running: Running,
    *,
    source: str = "",
    base: Package | None = None,
) -> Built:
    """Make the package folder `into`, which must not exist. `source` is the name of where the model is from, instead of
    its own; `base` what an adapter is for.

    Raises BadPackage, InvalidArgument, Untrusted for a template that reaches for what no template needs, MissingExtra
    without the engine, GoldenMismatch for one that does not answer the same twice, PayloadTooLarge, StorageFull.
    """
    facts = _checked(found, options, base)
    examples = golden.prompts(options.prompts, facts.chat or (base is not None and _chats(base)))
    scan, facts = _templates(found, facts, options, report)
    files, weights = _places(found)
    size = sum(each.stat().st_size for each in files.values())
    if size > options.max_bytes:
        raise PayloadTooLarge(f"{found.path} has {size} bytes; a package may have {options.max_bytes}")
    targets = {into / path: file for path, file in files.items()}
    for target in targets:
        target.parent.mkdir(parents=True, exist_ok=True)
    (into / "golden").mkdir()
    report(f"{found.path.name}: {found.format}, {facts.architecture}, {facts.quantization}, {size / 1e6:,.0f} MB")
    digests = copy(targets, "copying", report)
    hashed = {target.relative_to(into).as_posix(): digest for target, digest in digests.items()}
    inside = {path.removeprefix("weights/model/"): digest for path, digest in hashed.items()}
    license_file = licence.file_beside(found.path)
    if license_file is not None:
        shutil.copyfile(license_file, into / LICENSE)
    (into / REQUIREMENTS).write_text("", "utf-8")
    manifest = ModelManifest(
        name=name,
        engine=found.engine,
        weights=weights,
        signature=SIGNATURE,
        source=Source(
            name=source or found.path.resolve().name,
            digest=next(iter(hashed.values())) if len(hashed) == 1 else folder_digest(inside),
            format=found.format,
        ),
        conversion=Conversion(source=found.engine, converted=False, reason=f"{found.engine} runs it as it is"),
        scan=scan,
        license=licence.name_of(found, license_file, options.license),
        description=options.description,
        untrusted=options.untrusted,
        golden_rows=len(examples),
        language=facts,
    )
    write_manifest(into, manifest)
    report(f"starting {found.engine} for {len(examples)} golden examples")
    with running(Package(into, manifest), base) as asked:
        made = golden.make(asked, identity(found.engine), examples, options.margin)
    golden.write(into, made)
    return Built(manifest=manifest, hashed=hashed)


def _checked(found: Found, options: PushOptions, base: Package | None) -> LanguageModel:
    """What is known of the model, with its base. Raises InvalidArgument for options that do not go with it."""
    assert found.language is not None
    useless = [
        word
        for word, given in (
            *(("--sample", options.sample), ("--code", options.code), ("--requirements", options.requirements)),
            *(("--input-name", options.input_names), ("--output-name", options.output_names)),
            ("--classes", options.classes),
        )
        if given
    ]
    if useless:
        raise InvalidArgument(f"{found.path.name} is a language model: {', '.join(useless)} has no meaning for it")
    fits = ("llamacpp", "vllm") if found.format == "gguf" else (found.engine,)
    if options.engine and options.engine not in fits:
        raise InvalidArgument(f"the engine {options.engine} does not run {found.format}; {' and '.join(fits)} would")
    if found.language.kind != "adapter":
        if base is not None:
            raise InvalidArgument(f"{found.path.name} is no adapter, so it has no --base")
        return found.language
    if base is None:
        said = f" (its file says: for {found.language.base})" if found.language.base else ""
        raise InvalidArgument(
            f"{found.path.name} is a LoRA adapter{said}: name the version of its base with  --base NAME:VERSION"
        )
    adapter.check(found.path, base)
    return msgspec.structs.replace(found.language, base=base.stored or base.digest())


def _chats(base: Package) -> bool:
    return base.manifest.language is not None and base.manifest.language.chat


def _templates(found: Found, facts: LanguageModel, options: PushOptions, report: Report) -> tuple[Scan, LanguageModel]:
    """Scan the chat templates, in a child process. Raises Untrusted where there are objections nobody overrules."""
    if not found.templates:
        return Scan(verdict="data-only"), facts
    with Quarantine(found.path.name, Limits(seconds=options.seconds)) as quarantine:
        job = template.Templates(texts=found.templates)
        contents = quarantine.run("argosy.packaging.language.template:scan", job, template.TemplateContents)
    report("chat template: " + (", ".join(contents.beyond) or "loops, conditions and filters only"))
    objections = contents.scan.objections
    if objections and not options.trust:
        raise Untrusted(
            f"{found.path.name}: {', '.join(objections[:5])}; no chat template needs that. If you know where the model "
            "comes from, push it again with --trust"
        )
    scan = msgspec.structs.replace(contents.scan, trusted=bool(objections))
    return scan, msgspec.structs.replace(facts, template=contents.beyond)


def _places(found: Found) -> tuple[dict[str, Path], str]:
    """Package path → file, and what the engine loads."""
    if found.path.is_dir():
        return {f"weights/model/{name}": (found.path / name).resolve() for name in found.beside}, "weights/model"
    if found.beside:
        parts = [found.path.name, *found.beside]
        return {f"weights/model/{name}": found.path.with_name(name) for name in parts}, f"weights/model/{parts[0]}"
    return {"weights/model.gguf": found.path}, "weights/model.gguf"
