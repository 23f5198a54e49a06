"""`argosy push`, and `argosy models`: ls, show, verify, alias, fetch, rm."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from argosy.cli.base import Command, Group, json_option
from argosy.cli.completion import models as models_named
from argosy.cli.completion import references
from argosy.cli.here import actor, control, place, reason_option, settings, store
from argosy.cli.output import Columns, emit, progress, table
from argosy.cli.registry import published, reach_options
from argosy.cli.show import show, tensor_line, verify
from argosy.console.words import clock, size
from argosy.spec.errors import ArgosyError, Conflict, InvalidArgument
from argosy.spec.package import ENGINES

if TYPE_CHECKING:
    from argosy.packaging.options import PushOptions
    from argosy.store.version import Version

FILE = click.Path(path_type=Path)
SHOWN = 12
"""Inputs, and outputs, that a push prints."""


@click.command(cls=Command)
@click.argument("source", type=FILE)
@click.option("--name", default="", shell_complete=models_named, help="The model's name; its next version is made.")
@click.option("--to", metavar="REFERENCE", help="Push the version SOURCE to a registry: HOST/REPOSITORY[:TAG].")
@click.option("--no-image", is_flag=True, help="With --to: not as an image as well, which doubles what is stored.")
@reach_options
@click.option("--sample", type=FILE, help="Rows the model takes: .json, .csv, .parquet, .npy, .npz.")
@click.option("--engine", metavar="NAME", help=f"Instead of the one that the format gets: {', '.join(ENGINES)}, …")
@click.option(
    "--trust", is_flag=True, help="Let it run code of its author although the scan objects: only what you would run."
)
@click.option("--code", type=FILE, help="Code that a pickled model needs: a folder, a .py file or a wheel; it is run.")
@click.option("--requirements", type=FILE, help="A requirements.txt the model needs.")
@click.option("--license", "license_", default="", help="SPDX identifier, for example Apache-2.0, or a licence file.")
@click.option("--description", default="", help="One line about the model.")
@click.option("--untrusted", is_flag=True, help="It may run on machines of strangers, who can read and keep it.")
@click.option("--alias", help="Also point NAME@ALIAS at the new version.")
@click.option("--input-name", multiple=True, metavar="NAME", help="Of an input, in the model's order; may be repeated.")
@click.option("--output-name", multiple=True, metavar="NAME", help="Of an output, likewise.")
@click.option("--classes", metavar="A,B", help="Names of a classifier's classes, in order; @FILE has one a line.")
@click.option(
    "--no-convert",
    is_flag=True,
    help="Keep a model of scikit-learn, LightGBM or XGBoost as it is instead of making it ONNX.",
)
@click.option("--no-install", is_flag=True, help="Refuse a model whose requirements are not installed.")
@click.option("--prompts", type=FILE, help="JSON lines of {prompt} or {messages}: golden examples of a language model.")
@click.option("--margin", type=float, help="Share by which its perplexity may differ elsewhere.  [default: 0.02]")
@click.option("--base", metavar="REF", shell_complete=references, help="The version that a LoRA adapter is made for.")
@click.option("--atol", type=click.FloatRange(min=0), help="Absolute tolerance of golden outputs.")
@click.option("--rtol", type=click.FloatRange(min=0), help="Relative tolerance of golden outputs.")
@json_option
@click.pass_context
def push(context: click.Context, source: Path, name: str, alias: str | None, as_json: bool, **given: Any) -> None:
    """Package a model file or folder and register it as the next version of NAME; with --to, push a version that is
    registered to a registry of OCI content, as a package and as an image with its files under /models.

    Takes ONNX, scikit-learn (skops, joblib, pickle), XGBoost, LightGBM and CatBoost files, MLflow folders,
    torch.export programs, and Python files with a class that has load and predict. Of language models it takes GGUF
    files, Hugging Face folders with safetensors, hf:OWNER/NAME@REVISION, and LoRA adapters with --base; their engine
    has to be installed, since it makes the golden examples. The same file gives the same version again, unchanged.
    Requirements that code of yours names and this environment lacks are installed into one of the
    model's own, by uv, and the lock of their versions goes with it.

    JSON: {ref, name, number, digest, size, engine, created, aliases, unchanged, conversion, scan}; with --to {ref, to,
    digest, image, referrers, sent, there}.

    \b
    Example:
      argosy push model.joblib --name digits --sample x.parquet
      argosy push model.onnx --name digits --alias champion
      argosy push model.joblib --name digits --code src/
      argosy push gemma.gguf --name gemma
      argosy push digits:1 --to registry.example/models/digits:1
    """
    if published(context):
        return
    from argosy.packaging.push import push as package
    from argosy.store.ledger import Cause

    options = _options(given)
    with store() as place:
        latest = {one.name: one.latest for one in place.registry.models()}.get(name, 0)
        with progress(f"Packaging {source.name}") as report:
            version = package(source, name=name, store=place, options=options, report=report)
        if alias:
            cause = Cause(actor=actor(), reason="pushed")
            version = place.registry.set_alias(version.name, alias, version.number, cause)
    conversion, unchanged = version.manifest.conversion, version.number <= latest

    def render() -> None:
        click.echo(f"{click.style(version.ref, bold=True)}  {version.digest}")
        if unchanged:
            click.echo(f"unchanged: this package was pushed {clock(version.created)} UTC, so there is no new version")
        if conversion.source != version.engine or not conversion.converted:
            click.echo(f"engine {version.engine}: {conversion.reason}")
        for word, specs in (
            ()
            if version.manifest.language
            else (
                ("takes", version.manifest.signature.inputs),
                ("gives", version.manifest.signature.every_output),
            )
        ):
            click.echo("\n".join(f"{word}  {tensor_line(spec)}" for spec in specs[:SHOWN]))
        click.echo(f"deploy it with  argosy deploy {version.ref}")

    found = brief(version) | {"unchanged": unchanged, "conversion": conversion, "scan": version.manifest.scan}
    emit(found, as_json, render)


def _options(given: dict[str, Any]) -> "PushOptions":
    from argosy.packaging.options import PushOptions
    from argosy.packaging.requirements import read as read_requirements
    from argosy.spec.package import Tolerance

    return PushOptions(
        sample=given["sample"],
        code=given["code"],
        engine=given["engine"] or "",
        trust=given["trust"],
        requirements=read_requirements(given["requirements"]) if given["requirements"] else (),
        license=given["license_"],
        description=given["description"],
        untrusted=given["untrusted"],
        convert=not given["no_convert"],
        install=not given["no_install"],
        prompts=given["prompts"],
        margin=0.02 if given["margin"] is None else given["margin"],
        base=given["base"] or "",
        input_names=given["input_name"],
        output_names=given["output_name"],
        classes=_classes(given["classes"] or ""),
        tolerance=Tolerance(**{bound: given[bound] for bound in ("atol", "rtol") if given[bound] is not None}),
    )


def _classes(said: str) -> tuple[str, ...]:
    """Names between commas, or those that stand in a file."""
    if not said.startswith("@"):
        return tuple(name.strip() for name in said.split(",")) if said else ()
    try:
        return tuple(Path(said[1:]).read_text("utf-8").splitlines())
    except (OSError, ValueError) as error:
        raise InvalidArgument(f"--classes: {said[1:]} cannot be read: {error}") from None


BRIEF = ("ref", "name", "number", "digest", "size", "engine", "created", "aliases")
"""A version without its manifest and lineage."""
MODELS: Columns = {
    "model": "name",
    "latest": "latest",
    "versions": "versions",
    "aliases": lambda one: [f"{alias} → {number}" for alias, number in one["aliases"].items()],
    "updated": ("updated", clock),
}
VERSIONS: Columns = {
    "version": "ref",
    "engine": "engine",
    "size": ("size", size),
    "aliases": "aliases",
    "created": ("created", clock),
    "digest": lambda one: one["digest"][:19],
}


@click.group(cls=Group)
def models() -> None:
    """List, show, verify, alias and remove versions of models. `argosy push` makes them.

    \b
    Example:
      argosy models ls
      argosy models show digits:1
      argosy models alias digits@champion 1
    """


models.add_command(show)
models.add_command(verify)


@models.command("ls", cls=Command)
@click.argument("name", required=False, shell_complete=models_named)
@json_option
def every(name: str | None, as_json: bool) -> None:
    """List models; with NAME, the versions of one.

    JSON: a list of {name, latest, versions, aliases, created, updated}; with NAME, of {ref, name, number, digest, size,
    engine, created, aliases}.

    \b
    Example:
      argosy models ls
      argosy models ls digits --json
    """
    if name is None:
        found = _summaries()
        empty = "no models yet: add one with  argosy push FILE --name NAME"
        emit(found, as_json, lambda: table(MODELS, found, empty))
        return
    with store() as place:
        versions = [brief(version) for version in place.registry.versions(name)]
    emit(versions, as_json, lambda: table(VERSIONS, versions))


def _summaries() -> list[dict[str, Any]]:
    """Every model: from the running platform, which has everything loaded, else from the registry itself."""
    import msgspec

    try:
        return control(timeout=5).get("/v1/models")
    except ArgosyError:
        with store() as place:
            return msgspec.to_builtins(place.registry.models())


def brief(version: "Version") -> dict[str, Any]:
    return {field: getattr(version, field) for field in BRIEF}


@models.command(cls=Command)
@click.argument("alias", metavar="NAME@ALIAS", shell_complete=references)
@click.argument("version", type=click.IntRange(min=1), required=False)
@click.option("--delete", is_flag=True, help="Remove the alias.")
@reason_option
@json_option
def alias(alias: str, version: int | None, delete: bool, reason: str, as_json: bool) -> None:
    """Point an alias at a version of its model, or remove it.

    Endpoints that follow the alias go with it; the others keep the version they were deployed with until they are
    deployed again. One that moves back, to a lower version or to one it had, says so; store.forbid_alias_back refuses
    that. JSON: {name, alias, number, before, back, endpoints}.

    \b
    Example:
      argosy models alias digits@champion 3 -m "fewer errors on sevens"
      argosy models alias digits@champion --delete
    """
    name, at, label = alias.partition("@")
    if not at:
        raise InvalidArgument(f"'{alias}' is no alias: write NAME@ALIAS, for example digits@champion")
    if delete == (version is not None):
        raise InvalidArgument("give either a version or --delete")
    moved = _move(name, label, version, reason)
    done = f"{alias} → {name}:{version}" if version else f"{alias} is removed"
    if moved["back"]:
        done += f": back, from {name}:{moved['before']}" if moved["before"] else ": back, to a version it had before"
    if moved["endpoints"]:
        done += f"; {', '.join(moved['endpoints'])} {'go' if len(moved['endpoints']) > 1 else 'goes'} with it"
    emit({"name": name, "alias": label, "number": version, **moved}, as_json, lambda: click.echo(done))


def _move(name: str, label: str, version: int | None, reason: str) -> dict[str, Any]:
    """By the running platform, so that endpoints follow at once; else in the registry itself. What it pointed at
    before, whether it moved back, and which endpoints were declared anew."""
    from argosy.client.control import reached
    from argosy.store.ledger import Cause

    if version is not None and reached():
        body = {"name": name, "alias": label, "version": version, "actor": actor(), "reason": reason}
        found = control().post("/v1/aliases", body)
        return {field: found[field] for field in ("before", "back", "endpoints")}
    cause = Cause(actor=actor(), reason=reason)
    with store() as place:
        if version is None:
            place.registry.remove_alias(name, label, cause)
            return {"before": None, "back": False, "endpoints": []}
        moved = place.registry.set_alias(name, label, version, cause)
        return {"before": moved.before, "back": moved.back, "endpoints": []}


@models.command(cls=Command)
@click.argument("digest", metavar="DIGEST")
@click.argument("folder", type=FILE)
def fetch(digest: str, folder: Path) -> None:
    """Lay out the package of a digest as a folder, every byte hashed.

    It comes from the store or, where that lacks it, from store.blobs. Pods on Kubernetes begin with it. A fetch that
    was killed goes on where it was; a FOLDER that holds the package already is hashed, and left as it is.

    \b
    Example:
      ARGOSY_STORE_BLOBS=registry.example/models argosy models fetch sha256:… /models/digits
    """
    from argosy.store import open_layout
    from argosy.store.manifest import check_digest

    with progress(f"Fetching {digest[:19]}"):
        click.echo(open_layout(place(), settings()).unpack(check_digest(digest), folder.absolute()))


@models.command(cls=Command)
@click.argument("refs", metavar="NAME:VERSION...", nargs=-1, required=True, shell_complete=references)
@json_option
def rm(refs: tuple[str, ...], as_json: bool) -> None:
    """Remove versions and free their space.

    A version that an alias points at, that an endpoint runs, or that is the base of an adapter, is refused.

    \b
    Example:
      argosy models rm digits:1 digits:2
    """
    from argosy.store.endpoints import Endpoints

    removed: list[str] = []
    with store() as place:
        state = Endpoints(place.database)
        revisions = state.revisions()
        used = {
            revisions[revision].digest: declared.endpoint.name
            for declared in state.endpoints()
            for revision in (declared.revision, declared.serving.active)
            if revision in revisions
        }
        every = [one for model in place.registry.models() for one in place.registry.versions(model.name)]
        adapters = {one.manifest.language.base: one.ref for one in every if one.manifest.language}
        for ref in refs:
            digest = place.registry.resolve(ref).digest
            if (adapter := adapters.get(digest, refs[0])) not in refs:
                raise Conflict(f"{ref} is the base of the adapter {adapter}: remove that first")
            if digest in used:
                raise Conflict(f"{ref} is what endpoint '{used[digest]}' runs: argosy undeploy {used[digest]}  first")
            removed.append(place.remove(ref).ref)
        freed = place.collect(list(used)).bytes
    done = f"removed {', '.join(removed)}; {size(freed)} freed"
    emit({"removed": removed, "freed_bytes": freed}, as_json, lambda: click.echo(done))
