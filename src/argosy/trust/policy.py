"""Whose signatures count here, and what may not be loaded without one."""

from collections.abc import Callable, Iterable
from pathlib import Path

import msgspec

from argosy.spec.errors import ArgosyError, BadSignature
from argosy.spec.foreign import printable
from argosy.spec.signing import Signatures, matches
from argosy.store.layout import Layout
from argosy.trust import keys
from argosy.trust.bundle import BUNDLE, Bundle, read
from argosy.trust.statement import files_of

Check = Callable[[Bundle], None]
"""Raises BadSignature unless a signature is that of a certain signer."""


class Signed(msgspec.Struct, frozen=True, kw_only=True):
    """The files of a package (path → SHA-256 in hex), and what is attached as their signatures: place → bytes."""

    name: str
    files: dict[str, str]
    bundles: dict[str, bytes]


class Verdict(msgspec.Struct, frozen=True, kw_only=True):
    """What one signature is worth. `by`: whom it names; `signer`: whose it is of those that count; `wrong`: why it is
    worth nothing."""

    place: str
    by: str = ""
    signer: str = ""
    wrong: str = ""


def stored(layout: Layout, digest: str, name: str) -> Signed:
    """A package of the store. Its files are what its digest says: whoever unpacks it hashes them. Raises NotFound."""
    files = {path: each.digest.removeprefix("sha256:") for path, each in layout.files(digest).items()}
    bundles = {each.digest: layout.read(each.data) for each in layout.referrers(digest, BUNDLE)}
    return Signed(name=name, files=files, bundles=bundles)


def beside(folder: Path) -> Path:
    """Where the signature of a package folder lies."""
    return folder.absolute().with_name(folder.absolute().name + ".sig")


def in_folder(folder: Path, name: str, signature: Path) -> Signed:
    """A package folder, hashed now, with the file of its signature if that is there."""
    bundles = {str(signature): signature.read_bytes()} if signature.is_file() else {}
    return Signed(name=name, files=files_of(folder), bundles=bundles)


def by_key(path: Path) -> Check:
    """Signed by the key of this file. Raises NotFound, InvalidArgument."""
    key = keys.public_key(path)
    return lambda bundle: bundle.check_key(key)


def by_authority(path: Path, identity: str) -> Check:
    """Signed with a certificate that leads to one of this file. Raises NotFound, InvalidArgument."""
    roots = keys.certificates(path)
    return lambda bundle: bundle.check_authority(roots, identity)


def signers(policy: Signatures, name: str) -> dict[str, Check]:
    """Whose signatures of a model count. Raises NotFound and InvalidArgument for key files that cannot be read."""
    return {
        who: by_key(Path(one.key)) if one.key else by_authority(Path(one.authority), one.identity)
        for who, one in policy.signers.items()
        if matches(one.models, name)
    }


def judge(package: Signed, counting: dict[str, Check]) -> list[Verdict]:
    """What each signature of a package is worth, in the order they came."""
    return [_verdict(place, data, package, counting) for place, data in package.bundles.items()]


def _verdict(place: str, data: bytes, package: Signed, counting: dict[str, Check]) -> Verdict:
    by, wrong = "", "it is by none of the signers that count here"
    try:
        bundle = read(data, f"the signature {place}")
        by = printable(bundle.signer, "?")[:500]
        bundle.check_files(package.files)
        for who, check in counting.items():
            try:
                check(bundle)
            except BadSignature as error:
                wrong = error.message
            else:
                return Verdict(place=place, by=by, signer=who)
    except BadSignature as error:
        wrong = error.message
    return Verdict(place=place, by=by, wrong=printable(wrong, "?")[:500])


def of_version(policy: Signatures, layout: Layout, digest: str, name: str) -> list[Verdict]:
    """What each signature of a stored package is worth under a model's name. Raises NotFound, and InvalidArgument for
    key files that cannot be read."""
    package = stored(layout, digest, name)
    return judge(package, signers(policy, name)) if package.bundles else []


def described(verdicts: Iterable[Verdict], required: bool) -> list[str]:
    """Whom each signature names, and what that is worth here, a line each; "no" where there is none."""
    found = list(verdicts)
    lines = [
        f"by {each.by or each.place}, " + (f"counts as {each.signer}" if each.signer else each.wrong) for each in found
    ]
    if required and not any(each.signer for each in found):
        lines.append("signatures.require in config.yaml refuses it")
    return [printable(line) for line in lines] or ["no"]


def good(verdicts: Iterable[Verdict], what: str) -> Verdict:
    """The first signature that counts. Raises BadSignature, which says of `what` why there is none."""
    wrong = ""
    for each in verdicts:
        if each.signer:
            return each
        wrong = f"{each.wrong} ({each.by or each.place})"
    raise BadSignature(f"{what} has no signature that counts: {wrong}" if wrong else f"{what} is not signed")


def admit(policy: Signatures, find: Callable[[], Signed], what: str, model: str, endpoint: str = "") -> bool:
    """Whether a package has to be signed to be loaded as this model, or behind this endpoint; if so, it is, by somebody
    who may. Raises BadSignature, which says what is wrong and what to do. `find` looks the package up."""
    if not matches(policy.require, endpoint, model):
        return False
    try:
        good(judge(find(), signers(policy, model)), what)
    except ArgosyError as error:
        name = endpoint if matches(policy.require, endpoint) else model
        may = ", ".join(who for who, signer in policy.signers.items() if matches(signer.models, model)) or "nobody"
        raise BadSignature(
            f"{error.message}; signatures.require in config.yaml demands it of '{name}', and {may} may sign '{model}': "
            f"argosy sign {what} --key KEY.pem"
        ) from None
    return True


def admit_stored(policy: Signatures, layout: Layout, digest: str, ref: str, endpoint: str = "") -> bool:
    """`admit` for the package that the store has as the version `ref`."""
    model = ref.partition(":")[0]
    return admit(policy, lambda: stored(layout, digest, model), ref, model, endpoint)
