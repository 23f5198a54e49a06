"""`argosy image`."""

import gc
import os
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from argosy.cli.base import Group, json_option
from argosy.cli.completion import sources
from argosy.cli.here import place, store
from argosy.cli.output import Report, emit, pairs, progress
from argosy.cli.registry import reach_options
from argosy.spec.errors import InvalidArgument

if TYPE_CHECKING:
    from collections.abc import Generator

    from argosy.images.build import ImageModel, ImageOptions
    from argosy.images.image import Contents
    from argosy.store.oci.reference import RemoteReference

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
@click.option(
    "-o",
    "--output",
    required=True,
    metavar="oci:DIR|archive:FILE|REF",
    help="Where the image goes; a reference is of a registry.",
)
@click.option("--name", help="The name of the model in URLs; by default the file's or the model's.")
@click.option(
    "--platform", "platforms", type=click.Choice(PLATFORMS), multiple=True, help="May be given twice.  [default: this]"
)
@click.option(
    "--compression", type=click.Choice(["zstd", "gzip"]), default="zstd", show_default=True, help="Of layers."
)
@click.option("--lock", "locks", type=click.Path(path_type=Path), help="A folder that `argosy image lock` wrote.")
@click.option("--grpc", is_flag=True, help="Serve gRPC too: 7 MB more.")
@click.option("--sbom", is_flag=True, help="Attach a bill of material to a layout; in a registry it always is.")
@reach_options
@json_option
def build(
    source: str,
    output: str,
    name: str | None,
    platforms: tuple[str, ...],
    compression: Any,
    locks: Path | None,
    grpc: bool,
    sbom: bool,
    plain_http: bool,
    ca: Path | None,
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
      argosy image build digits:1 -o registry.example/digits:1 --compression gzip
    """
    gc.disable()  # what is imported is no garbage, and to look through it takes a tenth of a build of one layer
    click.get_current_context().call_on_close(gc.enable)
    from argosy.images.build import ImageOptions, epoch_of
    from argosy.images.image import check_place, write_archive, write_folder
    from argosy.store.oci.reference import parse

    kind, _, path = output.partition(":")
    target = Path(path).expanduser().absolute()
    remote = None if kind in ("oci", "archive") else parse(output)
    if (remote and (remote.in_bucket or remote.digest or not remote.tag)) or not (remote or path):
        raise InvalidArgument(f"--output '{output[:100]}' must be oci:DIR, archive:FILE or REGISTRY/REPOSITORY:TAG")
    if not remote:
        check_place(target, archive=kind == "archive")
    epoch = epoch_of(os.environ.get("SOURCE_DATE_EPOCH", ""))
    options = ImageOptions(
        platforms=platforms, compression=compression, grpc=grpc, locks=locks, bills=sbom or bool(remote), epoch=epoch
    )
    with progress(f"Building an image of {source}") as report:
        found = _built(source, name, options, report)
        if remote:
            _push(found, remote, plain_http, ca, report)
        elif kind == "oci":
            write_folder(found, target)
        else:
            write_archive(found, target, epoch)
    shown = {"image": output, "digest": found.root.digest, "bytes": found.size}
    emit(shown, as_json, lambda: pairs([(key, str(value)) for key, value in shown.items()]))


def _built(source: str, name: str | None, options: "ImageOptions", report: Report) -> "Contents":
    from argosy.images.build import Builder

    with _model(source, name, report) as model:
        return Builder(place(), options, report).build(model, f"{model.name}:{model.version}")


@contextmanager
def _model(source: str, name: str | None, report: Report) -> "Generator[ImageModel]":
    from argosy.client.local import locate
    from argosy.images.build import ImageModel
    from argosy.spec.endpoint import check_name

    if name is not None:
        check_name(name, "model name")
    located = locate(source, report=report)
    try:
        package = located.open()
        yield ImageModel(
            package=package,
            name=name or located.name,
            version=located.version,
            digest=located.digest or package.digest(),
            trusted=located.trusted,
        )
    finally:
        located.release()


def _push(found: "Contents", target: "RemoteReference", plain_http: bool, ca: Path | None, report: Report) -> None:
    """Push an image, and behind it what refers to it."""
    from argosy.store.oci.push import push
    from argosy.store.oci.reference import RemoteReference
    from argosy.store.oci.remote import opened

    report(f"Pushing to {target}")
    with store() as here, opened(target, plain_http=plain_http, ca=ca, report=report) as remote:
        push(remote, target, found.root, found, here.layout.transfers)
        for bill in found.referrers:
            push(remote, RemoteReference(target.host, target.repository), bill, found, here.layout.transfers)


@image.command()
@click.argument("source", metavar="FILE_OR_REF", shell_complete=sources)
@click.option("-o", "--output", type=click.Path(path_type=Path), required=True, help="The folder to write to.")
@click.option("--name", help="The name of the model in URLs; by default the file's or the model's.")
@click.option("--lock", "locks", type=click.Path(path_type=Path), help="A folder that `argosy image lock` wrote.")
@click.option("--grpc", is_flag=True, help="Serve gRPC too.")
@json_option
def dockerfile(source: str, output: Path, name: str | None, locks: Path | None, grpc: bool, as_json: bool) -> None:
    """Write a Dockerfile for an image of one model, with all that it copies.

    For those who build with docker, podman or buildah, on a base of their own. The folder holds the package, Argosy as
    a wheel, and locks with digests for what pip installs when it is built. The container runs as one of `argosy image
    build`, and the same package gives the same files. JSON: {dockerfile, files}.

    \b
    Example:
      argosy image dockerfile digits:1 -o digits
      docker build -t digits:1 digits
    """
    from argosy.images.build import Builder, ImageOptions, epoch_of
    from argosy.images.dockerfile import write_context

    target = output.expanduser().absolute()
    options = ImageOptions(grpc=grpc, locks=locks, epoch=epoch_of(os.environ.get("SOURCE_DATE_EPOCH", "")))
    with progress(f"Writing a Dockerfile for {source}") as report, _model(source, name, report) as model:
        files = write_context(Builder(place(), options, report), model, target)
    shown = {"dockerfile": str(target / "Dockerfile"), "files": files}
    emit(shown, as_json, lambda: click.echo(f"{shown['dockerfile']}: build it with  docker build -t TAG {output}"))


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
