"""`argosy models show` and `verify`."""

from typing import TYPE_CHECKING

import click

from argosy.cli.base import Command, json_option
from argosy.cli.completion import references
from argosy.cli.here import settings, store
from argosy.cli.output import Columns, emit, pairs, progress, table
from argosy.console.words import size
from argosy.spec.language import LanguageModel
from argosy.spec.package import DATA_ONLY
from argosy.spec.signing import matches

if TYPE_CHECKING:
    from argosy.packaging.language.golden import Golden
    from argosy.spec.signature import TensorSpec
    from argosy.store.version import Version

CONTEXTS = (4096, 32_768, 131_072)
"""Lengths of context for which the memory of a KV cache is shown, beside the longest."""
TRIES: Columns = {
    "recipe": "recipe",
    "agrees": lambda one: "" if one.agreement is None else f"{one.agreement:.2%}",
    "95 %": lambda one: "{:.2%} to {:.2%}".format(*one.interval) if one.interval else "",
    "worst class": lambda one: "" if one.worst is None else f"{one.worst:.1%} {one.worst_class}",
    "ms": lambda one: f"{one.ms:.3g} of {one.parent_ms:.3g}" if one.ms else "",
    "faster": lambda one: f"{one.speedup:.2f} x" if one.ms else "",
    "size": lambda one: size(one.size) if one.size else "",
    "": lambda one: one.rejected or "passed",
}
"""What came of each recipe of an optimization."""
_CHANGES = {True: " with changes", False: "", None: ", perhaps with changes"}


@click.command(cls=Command)
@click.argument("ref", shell_complete=references)
@json_option
def show(ref: str, as_json: bool) -> None:
    """Show everything a package says of itself: engine, conversion and why, scan, signature, lineage; who signed it.

    REF is name (its latest version), name:version, name@alias or sha256:…. Whose signatures count says config.yaml.
    JSON: {ref, name, number, digest, size, created, aliases, manifest, lineage, trust, signatures: [{place, by, signer,
    wrong}], locks: [{text, packages, wrong}]}; of a language model also memory: {weights, kv: {CONTEXT: bytes}} and
    golden, its golden examples.

    \b
    Example:
      argosy models show digits:1
    """
    import msgspec

    from argosy.packaging import lock
    from argosy.packaging.language import golden
    from argosy.trust import policy

    with store() as place:
        version = place.registry.resolve(ref)
        locks = lock.attached(place.home, version.digest, version.manifest.requirements)
        known = settings().signatures
        signatures = policy.of_version(known, place.layout, version.digest, version.name)
        model, examples = version.manifest.language, None
        if model is not None and (file := place.layout.files(version.digest).get(golden.FILE)):
            examples = golden.decode(place.layout.read(file))
    signed = policy.described(signatures, matches(known.require, version.name))
    found = {"ref": version.ref, **msgspec.structs.asdict(version), "signatures": signatures, "locks": locks}
    if model is not None:
        kv = {length: model.memory(length) - model.weights for length in _lengths(model)}
        found |= {"memory": {"weights": model.weights, "kv": kv}, "golden": examples}
    locked = "\n".join(
        f"left out: {each.wrong}" if each.wrong else f"{each.packages} package{'s' * (each.packages != 1)}"
        for each in locks
    )

    def render() -> None:
        pairs([*_rows(version, examples), ("locked", locked), ("signed", "\n".join(signed))])
        if made := version.lineage.optimization:
            click.echo(f"\noptimized from {made.parent_ref}, {made.parent}, by {made.recipe}, on {made.processor}")
            table(TRIES, made.tries)

    emit(found, as_json, render)


def _rows(version: "Version", golden: "Golden | None") -> list[tuple[str, object]]:
    manifest, lineage, conversion = version.manifest, version.lineage, version.manifest.conversion
    verb = "converted" if conversion.converted else "kept as it is"
    made_by = [
        f"{name} {number}" for name, number in (("argosy", lineage.argosy), ("python", lineage.python)) if number
    ]
    return [
        ("version", version.ref),
        ("digest", version.digest),
        ("size", size(version.size)),
        ("aliases", ", ".join(version.aliases)),
        ("description", manifest.description),
        ("engine", manifest.engine),
        ("conversion", f"{conversion.source}, {verb}: {conversion.reason}"),
        ("scan", "\n".join((manifest.scan.verdict, *manifest.scan.objections))),
        ("trusted", _trusted(version)),
        *(_tensors(version) if manifest.language is None else _language(manifest.language, golden)),
        ("untrusted", "it may run on machines of strangers" if manifest.untrusted else ""),
        ("requirements", "\n".join(manifest.requirements)),
        ("licence", manifest.license),
        ("source", f"{manifest.source.name} ({manifest.source.format})\n{manifest.source.digest}"),
        ("pushed", f"{lineage.pushed_at} by {lineage.pushed_by} on {lineage.host}"),
        ("from", lineage.source_path),
        ("git", f"{lineage.git_commit}{_CHANGES[lineage.git_dirty]}" if lineage.git_commit else ""),
        ("remote", lineage.git_remote),
        ("made by", " ".join(made_by)),
    ]


def _tensors(version: "Version") -> list[tuple[str, object]]:
    manifest = version.manifest
    return [
        ("inputs", "\n".join(map(tensor_line, manifest.signature.inputs))),
        ("outputs", "\n".join(map(tensor_line, manifest.signature.every_output))),
        ("batched", "yes" if manifest.signature.batched else "no: one request at a time"),
        ("golden", f"{manifest.golden_rows} rows, atol {manifest.tolerance.atol:g}, rtol {manifest.tolerance.rtol:g}"),
    ]


def _lengths(model: LanguageModel) -> list[int]:
    return [*(each for each in CONTEXTS if each < model.context), model.context] if model.kv_bytes else []


def _language(model: LanguageModel, golden: "Golden | None") -> list[tuple[str, object]]:
    """What is known of a language model, and what it takes: weights, and the KV cache of one sequence."""
    kv = [
        f"{size(model.memory(each) - model.weights)} for the KV cache of {each:,} tokens at 16 bits"
        for each in _lengths(model)
    ]
    template = "\n".join(("yes", *(model.template or ("loops, conditions and filters only",)))) if model.chat else "no"
    return [
        ("architecture", model.architecture),
        ("parameters", f"{model.parameters / 1e6:,.4g} million"),
        ("quantization", model.quantization),
        ("context", f"{model.context:,} tokens" if model.context else ""),
        ("tokenizer", model.tokenizer),
        ("chat template", template if model.kind == "generator" else ""),
        ("base", model.base),
        ("memory", "\n".join([f"{size(model.weights)} for weights", *kv])),
        ("golden", golden.described() if golden else ""),
    ]


def _trusted(version: "Version") -> str:
    """What this store has recorded, whatever the package says of itself."""
    if version.trust is None:
        return "" if version.engine in DATA_ONLY else "no: it may run no code but what Argosy vouches for"
    over = f", over {len(version.trust.objections)} objections" if version.trust.objections else ""
    return f"by {version.trust.by or 'an unknown user'}, {version.trust.at}{over}: it may run code of its author"


def tensor_line(spec: "TensorSpec") -> str:
    """One line: name, datatype, shape, and the first columns and classes."""
    extras = [word for word, applies in (("optional", spec.optional), ("nullable", spec.nullable)) if applies]
    if spec.source:
        extras.append(f"in the model {spec.source}")
    if spec.semantic:
        extras.append(spec.semantic)
    for word, names in (("columns", spec.columns), ("classes", spec.classes)):
        if names:
            more = f" … {len(names)} in all" if len(names) > 8 else ""
            extras.append(f"{word} {', '.join(names[:8])}{more}")
    return f"{spec.name}  {spec.datatype} {list(spec.shape)}  {', '.join(extras)}".rstrip()


@click.command(cls=Command)
@click.argument("ref", shell_complete=references)
@json_option
def verify(ref: str, as_json: bool) -> None:
    """Re-hash every file of a package and replay its golden examples.

    What a trusted version requires and this environment lacks is installed into one of its own, by uv. The exit status
    is 7 when a file was altered or an answer differs.

    \b
    Example:
      argosy models verify digits:1
    """
    from argosy.packaging.push import verify as check

    with store() as place, progress(f"Verifying {ref}") as report:
        found = check(place, ref, report=report)
    how = f": {found.compared}" if found.compared else ""
    emit(found, as_json, lambda: click.echo(f"{ref} is whole and answers as it did{how}"))
