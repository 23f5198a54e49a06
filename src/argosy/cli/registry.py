"""`argosy pull`, `argosy tags`, `argosy registry`: login, logout; and `argosy push VERSION --to`."""

import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click
from click.core import ParameterSource

from argosy.cli.base import Command, Group, json_option
from argosy.cli.completion import models as models_named
from argosy.cli.here import settings, store
from argosy.cli.output import emit, progress
from argosy.spec.errors import InvalidArgument, NotFound, Unauthenticated
from argosy.spec.foreign import printable

WITH_TO = ("to", "no_image", "plain_http", "ca")
"""Options of a push to a registry; the others package a file."""
Decorated = Callable[..., Any]


def reach_options(command: Decorated) -> Decorated:
    plain = click.option("--plain-http", is_flag=True, help="Speak to the registry without TLS. Logins can be read.")
    ca = click.option("--ca", type=click.Path(path_type=Path), help="Certificates of a private authority, in PEM.")
    return plain(ca(command))


def published(context: click.Context) -> bool:
    """Whether this `argosy push` was one to a registry, by --to. Raises InvalidArgument for options of the other
    kind of push."""
    given = context.params
    to, source, as_json = given["to"], str(given["source"]), given["as_json"]
    for option in (each for each in context.command.params if isinstance(each, click.Option) and each.name in given):
        said = context.get_parameter_source(option.name or "") == ParameterSource.COMMANDLINE
        if said and option.name != "as_json" and (option.name in WITH_TO) != bool(to):
            raise InvalidArgument(f"{option.opts[0]} goes {'not ' * bool(to)}together with --to")
    if not to:
        if not given["name"]:
            raise InvalidArgument("missing option '--name', or '--to' to push a version to a registry or a bucket")
        return False
    from argosy.store.oci.reference import parse
    from argosy.store.oci.remote import opened
    from argosy.store.oci.twin import SUFFIX, publish
    from argosy.trust.policy import admit_stored

    target = parse(to)
    if target.digest:
        raise InvalidArgument(f"'{to}' has a digest: a package is pushed to a tag, and keeps its digest")
    with store() as place, progress(f"Pushing {source}") as report:
        version = place.registry.resolve(source)
        admit_stored(settings().signatures, place.layout, version.digest, version.ref)
        target = target if target.tag else target.with_tag(str(version.number))
        image = not given["no_image"] and not target.in_bucket
        with opened(target, plain_http=given["plain_http"], ca=given["ca"], report=report) as remote:
            done = publish(remote, target, place.layout, version.digest, place.layout.transfers, image=image)
    found = {"ref": version.ref, "to": str(target), "digest": done.digest, "image": done.image}
    found |= {"referrers": done.referrers, "sent": done.sent, "there": done.there}

    def render() -> None:
        click.echo(f"{click.style(str(target), bold=True)}  {done.digest}")
        if done.image:
            click.echo(f"{target}{SUFFIX}  {done.image}")
        click.echo(f"{done.sent} blobs sent, {done.there} were there; pull it with  argosy pull {target}")

    emit(found, as_json, render)
    return True


@click.command(cls=Command)
@click.argument("reference")
@click.option("--name", default="", shell_complete=models_named, help="The model's name here; else the package's own.")
@click.option("--trust", is_flag=True, help="Let it run code of its author: only what you would run.")
@reach_options
@json_option
def pull(reference: str, name: str, trust: bool, plain_http: bool, ca: Path | None, as_json: bool) -> None:
    """Fetch a package from a registry or a bucket and register it as the next version of its model.

    REFERENCE is HOST/REPOSITORY:TAG or s3://BUCKET/PREFIX:TAG (gs://, az://), or has @sha256:… in place of the tag;
    every byte is hashed. A pull that was killed goes on where it was. The package is not trusted, whatever is said of
    it there.

    JSON: {ref, name, number, digest, size, engine, created, aliases, trusted}.

    \b
    Example:
      argosy pull registry.example/models/digits:1
      argosy pull s3://models/digits:1 --name digits-eu
    """
    from argosy.cli.models import brief
    from argosy.packaging.push import pull as fetch
    from argosy.spec.endpoint import check_name
    from argosy.store.oci.reference import parse
    from argosy.store.oci.remote import opened

    source = parse(reference)
    if name:
        check_name(name, "model name")
    with (
        store() as place,
        progress(f"Pulling {reference}") as report,
        opened(source, plain_http=plain_http, ca=ca, report=report) as remote,
    ):
        version = fetch(place, remote, source, name=name, trust=trust)

    def render() -> None:
        click.echo(f"{click.style(version.ref, bold=True)}  {version.digest}")
        if version.manifest.scan.objections and version.trust is None:
            said = printable(", ".join(version.manifest.scan.objections[:5]))
            click.echo(f"not trusted to run code of its author ({said}): pull it with --trust if you would run that")
        click.echo(f"check it with  argosy models verify {version.ref}")

    emit(brief(version) | {"trusted": version.trust is not None}, as_json, render)


@click.command(cls=Command)
@click.argument("repository")
@reach_options
@json_option
def tags(repository: str, plain_http: bool, ca: Path | None, as_json: bool) -> None:
    """List the tags of a repository in a registry, or of a prefix in a bucket.

    JSON: a list of texts.

    \b
    Example:
      argosy tags registry.example/models/digits
      argosy tags s3://models/digits
    """
    from argosy.store.oci.reference import parse
    from argosy.store.oci.remote import opened

    place = parse(repository)
    with opened(place, plain_http=plain_http, ca=ca) as remote:
        found = remote.tags(place)
    emit(found, as_json, lambda: click.echo("\n".join(map(printable, found)) or "no tags"))


@click.group(cls=Group)
def registry() -> None:
    """Log in to registries of OCI content, and out.

    Logins lie where podman, skopeo and docker keep them, and theirs are used.

    \b
    Example:
      argosy registry login registry.example -u ada
    """


@registry.command(cls=Command)
@click.argument("host")
@click.option(
    "-u", "--user", default="", help="Without, it is asked for, or what comes by --password-stdin is an identity token."
)
@click.option("--password-stdin", is_flag=True, help="Read the password from standard input.")
@reach_options
def login(host: str, user: str, password_stdin: bool, plain_http: bool, ca: Path | None) -> None:
    """Check a login with a registry, and keep it for later pushes and pulls.

    It is kept in REGISTRY_AUTH_FILE, in XDG_RUNTIME_DIR/containers/auth.json or in ~/.docker/config.json, or by the
    credential helper that the file names.

    \b
    Example:
      argosy registry login registry.example -u ada
      echo "$TOKEN" | argosy registry login registry.example -u ada --password-stdin
    """
    from argosy.store.oci.client import Client
    from argosy.store.oci.credentials import MAX_SECRET, Credential, save
    from argosy.store.oci.quirks import of
    from argosy.store.oci.reference import check_host

    check_host(host)
    if hint := of(host).login:
        click.echo(f"{host}: {hint}", err=True)
    if password_stdin:
        secret = sys.stdin.read(MAX_SECRET).rstrip("\r\n")
    else:
        user = user or click.prompt("User", err=True)
        secret = click.prompt("Password", hide_input=True, err=True)
    if not secret:
        raise InvalidArgument("the password is empty: give it at the prompt, or by --password-stdin")
    given = Credential(user, secret)
    with Client(host, plain_http=plain_http, ca=ca, credential=given) as client:
        try:
            client.probe().ask("GET", "")
        except Unauthenticated:
            raise Unauthenticated(f"{host} refuses this user and password: nothing was kept") from None
        if not client.challenged:
            click.echo(f"{host} asks nobody for a login here, so this one was not checked", err=True)
    click.echo(f"logged in to {host}; kept in {save(host, given, os.environ)}")


@registry.command(cls=Command)
@click.argument("host")
def logout(host: str) -> None:
    """Delete the logins of a registry.

    \b
    Example:
      argosy registry logout registry.example
    """
    from argosy.store.oci.credentials import erase
    from argosy.store.oci.reference import check_host

    gone = erase(check_host(host), os.environ)
    if not gone:
        raise NotFound(f"there is no login for {host}")
    click.echo(f"logged out of {host}: deleted in {', '.join(gone)}")
