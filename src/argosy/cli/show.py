"""`argosy show`."""

from typing import TYPE_CHECKING

import click

from argosy.cli.base import Command, json_option
from argosy.cli.here import store
from argosy.cli.output import emit, pairs, size
from argosy.spec.package import DATA_ONLY

if TYPE_CHECKING:
    from argosy.spec.package import Conversion
    from argosy.spec.signature import TensorSpec
    from argosy.store.version import Version

_CHANGES = {True: " with changes", False: "", None: ", perhaps with changes"}


@click.command(cls=Command)
@click.argument("ref")
@json_option
def show(ref: str, as_json: bool) -> None:
    """Show everything a package says of itself: engine, conversion and why, scan, signature, lineage.

    REF is name (its latest version), name:version, name@alias or sha256:…. JSON: {ref, name, number, digest, size,
    created, aliases, manifest, lineage, trust}.

    \b
    Example:
      argosy show digits:1
    """
    import msgspec

    with store() as place:
        version = place.registry.resolve(ref)
    found = {"ref": version.ref, **msgspec.structs.asdict(version)}
    emit(found, as_json, lambda: pairs(_rows(version)))


def _rows(version: "Version") -> list[tuple[str, object]]:
    manifest, lineage = version.manifest, version.lineage
    return [
        ("version", version.ref),
        ("digest", version.digest),
        ("size", size(version.size)),
        ("aliases", ", ".join(version.aliases)),
        ("description", manifest.description),
        ("engine", manifest.engine),
        ("conversion", _conversion(manifest.conversion)),
        ("scan", "\n".join((manifest.scan.verdict, *manifest.scan.objections))),
        ("trusted", _trusted(version)),
        ("inputs", "\n".join(map(tensor_line, manifest.signature.inputs))),
        ("outputs", "\n".join(map(tensor_line, manifest.signature.outputs))),
        ("batched", "yes" if manifest.signature.batched else "no: one request at a time"),
        ("golden", f"{manifest.golden_rows} rows, atol {manifest.tolerance.atol:g}, rtol {manifest.tolerance.rtol:g}"),
        ("requirements", "\n".join(manifest.requirements)),
        ("licence", manifest.license),
        ("source", f"{manifest.source.name} ({manifest.source.format})\n{manifest.source.digest}"),
        ("pushed", f"{lineage.pushed_at} by {lineage.pushed_by} on {lineage.host}"),
        ("from", lineage.source_path),
        ("git", f"{lineage.git_commit}{_CHANGES[lineage.git_dirty]}" if lineage.git_commit else ""),
        ("remote", lineage.git_remote),
        (
            "made by",
            " ".join(f"{name} {v}" for name, v in (("argosy", lineage.argosy), ("python", lineage.python)) if v),
        ),
    ]


def _conversion(conversion: "Conversion") -> str:
    verb = "converted" if conversion.converted else "kept as it is"
    return f"{conversion.source}, {verb}: {conversion.reason}"


def _trusted(version: "Version") -> str:
    """What this store knows, whatever the package says of itself."""
    if version.trust is None:
        return "" if version.engine in DATA_ONLY else "no: it may run no code but what Argosy vouches for"
    over = f", over {len(version.trust.objections)} objections" if version.trust.objections else ""
    return f"by {version.trust.by or 'an unknown user'}, {version.trust.at}{over}: it may run code of its author"


def tensor_line(spec: "TensorSpec") -> str:
    """One line: name, datatype, shape, and the first columns."""
    line = f"{spec.name}  {spec.datatype} {list(spec.shape)}"
    extras = [word for word, said in (("optional", spec.optional), ("nullable", spec.nullable)) if said]
    if spec.semantic:
        extras.append(spec.semantic)
    if spec.columns:
        more = f" … {len(spec.columns)} in all" if len(spec.columns) > 8 else ""
        extras.append(f"columns {', '.join(spec.columns[:8])}{more}")
    return f"{line}  {', '.join(extras)}".rstrip()
