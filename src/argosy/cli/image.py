"""`argosy image`."""

import os
from pathlib import Path
from typing import Any

import click

from argosy.cli.base import Group, json_option
from argosy.cli.completion import sources
from argosy.cli.here import place
from argosy.cli.output import emit, pairs, progress
from argosy.spec.errors import InvalidArgument

PLATFORMS = ("linux/amd64", "linux/arm64")


@click.group(cls=Group)
def image() -> None:
    """Build container images of models, without a daemon and without root.

    \b
    Example:
      argosy image build digits:1 -o oci:digits
    """


@image.command()
@click.argument("source", metavar="FILE_OR_REF", shell_complete=sources)
@click.option("-o", "--output", required=True, metavar="oci:DIR|archive:FILE", help="Where the image goes.")
@click.option("--name", help="The name of the model in URLs; by default the file's or the model's.")
@click.option(
    "--platform", "platforms", type=click.Choice(PLATFORMS), multiple=True, help="May be given twice.  [default: this]"
)
@click.option(
    "--compression", type=click.Choice(["zstd", "gzip"]), default="zstd", show_default=True, help="Of layers."
)
@click.option("--lock", "locks", type=click.Path(path_type=Path), help="A folder that `argosy image lock` wrote.")
@click.option("--grpc", is_flag=True, help="Serve gRPC too: 6 MB more.")
@json_option
def build(
    source: str,
    output: str,
    name: str | None,
    platforms: tuple[str, ...],
    compression: Any,
    locks: Path | None,
    grpc: bool,
    as_json: bool,
) -> None:
    """Build an image that serves one model.

    FILE_OR_REF is a model file as `argosy push` takes it, a package folder, or a version of the store. The same package
    gives the same bytes; SOURCE_DATE_EPOCH sets the times in it. Layers that did not change are taken from the cache of
    the home.

    \b
    Example:
      argosy image build digits:1 -o oci:digits
      argosy image build digits:1 -o archive:digits.tar --platform linux/amd64 --platform linux/arm64
      podman run --rm -p 8080:8080 oci-archive:digits.tar
    """
    from argosy.client.local import locate
    from argosy.images.build import Builder, ImageModel, ImageOptions, epoch_of
    from argosy.images.image import write_archive, write_folder
    from argosy.packaging.package import open_package
    from argosy.spec.endpoint import check_name

    kind, _, path = output.partition(":")
    if kind not in ("oci", "archive") or not path:
        raise InvalidArgument(f"--output '{output[:100]}' must be oci:DIR or archive:FILE")
    if name is not None:
        check_name(name, "model name")
    epoch = epoch_of(os.environ.get("SOURCE_DATE_EPOCH", ""))
    options = ImageOptions(platforms=platforms, compression=compression, grpc=grpc, locks=locks, epoch=epoch)
    with progress(f"Building an image of {source}") as report:
        located = locate(source, report=report)
        try:
            package = open_package(located.folder, trusted=located.trusted)
            model = ImageModel(
                package=package,
                name=name or located.name,
                version=located.version,
                digest=located.digest or package.digest(),
                trusted=located.trusted,
            )
            found = Builder(place().cache / "layers", options, report).build(model, f"{model.name}:{model.version}")
            target = Path(path).expanduser().absolute()
            write_folder(found, target) if kind == "oci" else write_archive(found, target, epoch)
        finally:
            located.release()
    shown = {"image": output, "digest": found.digest, "bytes": found.size}
    emit(shown, as_json, lambda: pairs([(key, str(value)) for key, value in shown.items()]))


@image.command()
@click.option("-o", "--output", type=click.Path(path_type=Path), required=True, help="The folder to write to.")
@json_option
def lock(output: Path, as_json: bool) -> None:
    """Lock what goes into images to what this machine can get today.

    Debian packages with the versions that its apt delivers, wheels with those of its index of packages, each with its
    SHA-256. Argosy has locks of its own; a new one takes up updates of security. JSON: a list of paths.

    \b
    Example:
      argosy image lock -o locks
      argosy image build digits:1 -o oci:digits --lock locks
    """
    from argosy.images.build import write_locks

    with progress("Locking") as report:
        shown = [str(path) for path in write_locks(output.expanduser().absolute(), report)]
    emit(shown, as_json, lambda: click.echo("\n".join(shown)))
