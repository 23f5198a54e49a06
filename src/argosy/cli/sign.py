"""`argosy sign`, `argosy verify`, `argosy sbom`: who made a package, and what it is made of."""

import sys
from collections.abc import Callable, Generator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import click

from argosy.cli.base import Command, json_option
from argosy.cli.completion import references
from argosy.cli.here import settings, store
from argosy.cli.output import emit
from argosy.spec.errors import BadSignature, InvalidArgument, NotFound
from argosy.spec.foreign import printable
from argosy.spec.signing import matches

if TYPE_CHECKING:
    from argosy.spec.package import ModelManifest
    from argosy.trust.policy import Signed

FILE = click.Path(path_type=Path)


class Target(NamedTuple):
    """The package of a command: its files and signatures, and where to put what is made for it. `attach` takes an
    artifact type, which is the media type too, and the bytes; it returns where they are."""

    ref: str
    digest: str
    manifest: "ModelManifest"
    signed: "Signed"
    attach: Callable[[str, bytes], str]


@contextmanager
def _target(ref: str) -> Generator[Target]:
    """The package of a folder or of a reference, every file of it hashed. Raises NotFound, BadPackage."""
    from argosy.packaging.package import open_package
    from argosy.trust import policy

    folder = Path(ref)
    if (folder / "model.yaml").is_file():
        package = open_package(folder)
        beside = policy.beside(folder)
        found = policy.in_folder(folder, package.manifest.name, beside)

        def write(kind: str, data: bytes) -> str:
            place = beside if kind == policy.BUNDLE else beside.with_suffix(".cdx.json")
            place.write_bytes(data)
            return str(place)

        yield Target(str(folder), package.digest(), package.manifest, found, write)
        return
    if "/" in ref:
        raise NotFound(f"there is no package folder {ref}: it would hold a model.yaml")
    with store() as place:
        version = place.registry.resolve(ref)
        place.layout.verify(version.digest)
        found = policy.stored(place.layout, version.digest, version.name)

        def attach(kind: str, data: bytes) -> str:
            return place.layout.attach(version.digest, kind, data, kind)

        yield Target(version.ref, version.digest, version.manifest, found, attach)


@click.command(cls=Command)
@click.argument("ref", metavar="REF_OR_FOLDER", shell_complete=references)
@click.option("--key", type=FILE, metavar="PEM", help="The private key: P-256, P-384 or P-521.")
@click.option("--passphrase-file", type=FILE, help="Where the passphrase of an encrypted key stands.")
@click.option("--certificate", type=FILE, metavar="PEM", help="The signer's certificate, then its issuers.")
@click.option("--sigstore-bundle", type=FILE, metavar="FILE", help="Attach a signature that was made elsewhere.")
@json_option
def sign(
    ref: str,
    key: Path | None,
    passphrase_file: Path | None,
    certificate: Path | None,
    sigstore_bundle: Path | None,
    as_json: bool,
) -> None:
    """Sign the files of a package, in the format of OpenSSF model signing.

    The signature is attached to the version of the store, and goes wherever that goes; that of a package folder is
    written to FOLDER.sig beside it. Keys can stay away from here: `model_signing sign` makes a bundle wherever they
    are, which --sigstore-bundle attaches once it is found to be over these files. Signing again with the same key
    changes nothing. JSON: {ref, digest, by, place, unchanged}.

    \b
    Example:
      argosy sign digits:1 --key release.pem
      argosy sign digits:1 --key release.pem --certificate chain.pem
      argosy sign digits:1 --sigstore-bundle model.sig
    """
    from argosy.trust import bundle, keys, policy

    if (key is None) == (sigstore_bundle is None):
        raise InvalidArgument("give either --key or --sigstore-bundle")
    if key is None and (certificate or passphrase_file):
        raise InvalidArgument("--certificate and --passphrase-file go with --key")
    with _target(ref) as found:
        unchanged = False
        if key is not None:
            secret = keys.content(passphrase_file).strip() if passphrase_file else None
            private = keys.private_key(key, secret)
            chain = keys.certificates(certificate) if certificate else []
            data = bundle.sign(found.manifest.name, found.signed.files, private, chain)
            before = policy.judge(found.signed, {"it": lambda one: one.check_key(private.public_key())})
            same = [each.place for each in before if each.signer and each.by == bundle.read(data, "it").signer]
            unchanged = bool(same)
            place = same[0] if same else found.attach(bundle.BUNDLE, data)
        else:
            assert sigstore_bundle is not None
            data = keys.content(sigstore_bundle)
            bundle.read(data, str(sigstore_bundle)).check_files(found.signed.files)
            place = found.attach(bundle.BUNDLE, data)
        by = printable(bundle.read(data, place).signer)
    done = {"ref": found.ref, "digest": found.digest, "by": by, "place": place, "unchanged": unchanged}
    emit(done, as_json, lambda: click.echo(f"{found.ref} is {'already ' * unchanged}signed by {by}: {place}"))


@click.command(cls=Command)
@click.argument("ref", metavar="REF_OR_FOLDER", shell_complete=references)
@click.option("--key", type=FILE, metavar="PEM", help="The public key that must have signed.")
@click.option("--certificate-authority", type=FILE, metavar="PEM", help="Whose certificates must have signed.")
@click.option("--identity", default="", help="The e-mail, URI or DNS name of the certificate; else any.")
@click.option("--require-signature", is_flag=True, help="Fail unless a signer of config.yaml has signed.")
@json_option
def verify(
    ref: str,
    key: Path | None,
    certificate_authority: Path | None,
    identity: str,
    require_signature: bool,
    as_json: bool,
) -> None:
    """Check who signed a package, and that its files are what was signed. Nothing of the model is run.

    With --key or --certificate-authority a signature by that signer is required; without, those count whom
    signatures.signers in config.yaml names for the model, and one of them is required with --require-signature, or
    where signatures.require says so. The exit status is 8 when it is missing or wrong, 7 when a file was altered.
    Whether a model still answers as it did, `argosy models verify` tells.
    JSON: {ref, digest, files, signer, signatures: [{place, by, signer, wrong}]}.

    \b
    Example:
      argosy verify digits:1 --key release.pub
      argosy verify digits:1 --certificate-authority ca.pem --identity release@example.org
      argosy verify digits:1 --require-signature
    """
    from argosy.trust import policy

    if key is not None and certificate_authority is not None:
        raise InvalidArgument("give either --key or --certificate-authority")
    if identity and certificate_authority is None:
        raise InvalidArgument("--identity goes with --certificate-authority")
    with _target(ref) as found:
        known, named = settings().signatures, key or certificate_authority
        if named is not None:
            counting = {str(named): policy.by_key(named) if key else policy.by_authority(named, identity)}
        else:
            counting = policy.signers(known, found.signed.name)
        verdicts = policy.judge(found.signed, counting)
        signer = ""
        try:
            one = policy.good(verdicts, found.ref)
            signer, by = one.signer, one.by
        except BadSignature as error:
            if named or require_signature or matches(known.require, found.signed.name):
                raise
            by = error.message
    said = f"{found.ref} is signed by {by}, which counts as {signer}" if signer else by
    count = len(found.signed.files)
    done = {"ref": found.ref, "digest": found.digest, "files": count, "signer": signer, "signatures": verdicts}
    emit(done, as_json, lambda: click.echo(f"{said}; all {count} files are what the digest says"))


@click.command(cls=Command)
@click.argument("ref", metavar="REF_OR_FOLDER", shell_complete=references)
@click.option("-o", "--output", type=FILE, help="A file, instead of the standard output.")
@click.option("--attach", is_flag=True, help="Attach it to the version, so that it goes wherever that goes.")
def sbom(ref: str, output: Path | None, attach: bool) -> None:
    """Write what a package is made of: CycloneDX 1.6 in JSON, with the model's card, files and requirements.

    The same package gives the same bytes: there is no clock in it, and the serial number follows from the digest.

    \b
    Example:
      argosy sbom digits:1 -o digits.cdx.json
      argosy sbom digits:1 --attach
    """
    from argosy.trust.sbom import CYCLONEDX, package_bill

    with _target(ref) as found:
        data = package_bill(found.manifest, found.signed.files, found.digest)
        if attach:
            click.echo(f"attached to {found.ref}: {found.attach(CYCLONEDX, data)}", err=True)
    if output is not None:
        output.write_bytes(data)
    elif not attach:
        sys.stdout.write(data.decode() + "\n")
