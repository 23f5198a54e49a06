"""`argosy.load`: a model in this process, with the same golden check that every replica makes."""

import re
import shutil
import sys
import tempfile
import weakref
from collections.abc import Callable
from contextlib import closing, suppress
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from argosy.spec.errors import ArgosyError, BadSignature, InvalidArgument, NotFound
from argosy.spec.package import DATA_ONLY
from argosy.spec.settings import home
from argosy.spec.settings import load as settings_of
from argosy.spec.signing import matches

if TYPE_CHECKING:
    from argosy.packaging.load import LoadedModel
    from argosy.packaging.options import PushOptions
    from argosy.packaging.package import Package

TAKEN = (
    "it takes one package folder of `argosy models`, one MLflow model or encoder, or one model file as `argosy push` "
    "takes it"
)


class Located(msgspec.Struct, frozen=True, kw_only=True):
    """A package folder, what it is called, whether it may run code of its author, and whether it has to be signed
    (then it is). `temporary`: to be deleted with `folder` when it is no longer needed."""

    folder: Path
    name: str
    version: str = "1"
    digest: str = ""
    trusted: bool = False
    signed: bool = False
    temporary: tempfile.TemporaryDirectory[str] | None = None

    def open(self) -> "Package":
        """The package. Raises BadPackage."""
        from argosy.packaging.package import open_package

        return open_package(self.folder, trusted=self.trusted, stored=self.digest)

    def release(self) -> None:
        """Delete the folder if it was made for this use."""
        if self.temporary is not None:
            self.temporary.cleanup()


def load(ref: str | Path, *, threads: int = 0, trust: bool = False) -> "LoadedModel":
    """A model by reference (`digits:1`, `digits@champion`, `digits`, a digest) or by path.

    A path is a package folder or a model file that `argosy push` would take. References are looked up in the store of
    ARGOSY_HOME. `threads` are the engine's, 0 the cores this process may use. `trust` vouches for a model given by its
    path: it may then run code of its author. Without, a package is trusted if this store has the same one and trusts
    it; what it says of itself counts for nothing. What it requires and nobody has installed is installed apart, and
    found by this process behind all that it has. Raises NotFound, Untrusted for a model that would run code,
    MissingExtra where another version is there or none may be installed, BadSignature where `signatures.require` of its
    config.yaml demands a signature that is not there, and GoldenMismatch when the model does not answer as it did when
    it was packaged.
    """
    from argosy.packaging import environment
    from argosy.packaging.load import load as load_package

    located = locate(ref, trust=trust)
    try:
        package = located.open()
        packages = environment.prepare(home(), package.needs)
        sys.path += {str(packages)}.difference(sys.path) if packages else ()  # behind what this process has
        model = load_package(package, threads=threads)
    except BaseException:
        located.release()
        raise
    weakref.finalize(model, located.release)
    return model


def locate(
    ref: str | Path,
    options: "PushOptions | None" = None,
    report: Callable[[str], None] = lambda step: None,
    *,
    trust: bool = False,
) -> Located:
    """The package of a path or a reference; a model file is packaged into a temporary folder.

    `trust`, or that of the options, vouches for a path. Raises NotFound, InvalidArgument for options on what is
    packaged already and for trust in what the store has, and what packaging raises.
    """
    from argosy.packaging.options import PushOptions

    path, options = Path(ref), options or PushOptions()
    trust = trust or options.trust
    if path.is_file() or _is_source(path):
        return _packaged(path, msgspec.structs.replace(options, trust=trust), report)
    if msgspec.structs.replace(options, trust=False, install=True) != PushOptions():
        raise InvalidArgument(f"'{ref}' is packaged already: how to package it cannot be said any more")
    if (path / "model.yaml").is_file():
        return _folder(path, trust)
    if isinstance(ref, Path) or "/" in ref:
        raise NotFound(f"there is no model at {path}")
    if trust:
        raise InvalidArgument(f"'{ref}' is packaged already: whether it is trusted was said by whoever pushed it")
    return stored_package(ref)


def sole_model(place: Path) -> Path:
    """The one model at a path: itself, or what of a folder is the only package folder, MLflow model, encoder or model
    file, also where it lies in the only folder within. Raises NotFound, which says what is there, and InvalidArgument
    for several.
    """
    folder = place
    while not _is_model(folder):
        if not folder.is_dir():
            raise NotFound(f"{folder} is no model: {TAKEN}")
        inside = [child for child in sorted(folder.iterdir()) if not child.name.startswith((".", "__"))]
        found = [child for child in inside if _is_model(child)]
        if len(found) > 1:
            names = ", ".join(child.name for child in found[:5])
            raise InvalidArgument(f"{folder} has {len(found)} models, and one is served: {names}")
        below = found or [child for child in inside if child.is_dir()]
        if len(below) != 1:
            names = ", ".join(child.name for child in inside[:5]) + (", …" if len(inside) > 5 else "")
            raise NotFound(f"no model lies in {folder}, which has {names or 'nothing in it'}: {TAKEN}")
        folder = below[0]
    return folder


def _is_model(path: Path) -> bool:
    from argosy.packaging.detect import detect

    if path.is_dir():
        return (path / "model.yaml").is_file() or _is_source(path)
    try:
        return bool(detect(path))
    except ArgosyError:
        return False


def _is_source(folder: Path) -> bool:
    """Whether a folder is what `argosy push` takes as one, and no folder of code."""
    from argosy.packaging import encoder

    return (folder / "MLmodel").is_file() or encoder.recognise(folder)


def _folder(path: Path, trust: bool) -> Located:
    """A package folder of the caller's. Where this store trusts the same package, its own copy is taken: that cannot
    change any more between the check and its use."""
    located = _signed_copy(path)
    package = located.open()
    located = msgspec.structs.replace(located, name=package.manifest.name, trusted=trust)
    if trust or (package.manifest.engine in DATA_ONLY and not package.manifest.scan.objections):
        return located
    copy = _trusted_copy(package)
    return located if copy is None else msgspec.structs.replace(located, folder=copy, trusted=True)


def _signed_copy(path: Path) -> Located:
    """The folder itself; where the settings demand signatures, a copy that nobody else can change between the check and
    its use. Raises BadSignature."""
    from argosy.packaging.package import open_package

    policy = settings_of(home()).signatures
    if not policy.require:
        return Located(folder=path, name="")
    from argosy.trust.policy import admit, beside, in_folder

    temporary = tempfile.TemporaryDirectory(prefix="argosy-")
    copy = Path(temporary.name) / "package"
    try:
        shutil.copytree(path, copy, symlinks=True)
        name = open_package(copy).manifest.name
        signed = admit(policy, lambda: in_folder(copy, name, beside(path)), str(path), name)
    except BaseException:
        temporary.cleanup()
        raise
    return Located(folder=copy, name=name, signed=signed, temporary=temporary)


def _trusted_copy(package: "Package") -> Path | None:
    from argosy.store import open_store

    place = home()
    settings = settings_of(place)
    if not settings.store.database and not place.database.exists():
        return None
    digest = package.digest()
    with closing(open_store(place, settings)) as store, suppress(NotFound):
        return store.unpacked(digest) if store.registry.trusted(digest) else None


def stored_package(ref: str) -> Located:
    """The package of a reference of the registry. Raises NotFound, InvalidArgument for what is none, BadSignature where
    it has to be signed and is not."""
    from argosy.store import open_store

    settings, signed = settings_of(home()), False
    with closing(open_store(home(), settings)) as store:
        try:
            version = store.registry.resolve(ref)
            if settings.signatures.require:
                from argosy.trust.policy import admit_stored

                signed = admit_stored(settings.signatures, store.layout, version.digest, version.ref)
            folder = store.unpacked(version.digest)
        except NotFound as error:
            if not Path(ref).suffix:
                raise
            raise NotFound(f"there is no file {ref}, and {error.message}") from None
    return Located(
        folder=folder,
        name=version.name,
        version=str(version.number),
        digest=version.digest,
        trusted=version.trust is not None,
        signed=signed,
    )


def _packaged(path: Path, options: "PushOptions", report: Callable[[str], None]) -> Located:
    from argosy.packaging.build import build, vouched

    check_unsigned(path)
    temporary = tempfile.TemporaryDirectory(prefix="argosy-")
    located = Located(folder=Path(temporary.name) / "package", name=name_of(path), temporary=temporary)
    try:
        manifest = build(path, located.name, located.folder, options, report)
    except BaseException:
        located.release()
        raise
    return msgspec.structs.replace(located, trusted=vouched(manifest, options))


def check_unsigned(path: Path) -> None:
    """Raises BadSignature for a file where the settings demand a signature, which a file has not."""
    if matches(settings_of(home()).signatures.require, name_of(path)):
        raise BadSignature(
            f"{path} is not signed, and signatures.require in config.yaml demands it of '{name_of(path)}': push it, "
            f"sign the version with  argosy sign {name_of(path)}:1 --key KEY.pem  and name that"
        )


def name_of(path: Path) -> str:
    """A valid model name out of a file's: `My Model.onnx` is `my-model`."""
    stem = path.stem if path.is_file() else path.name
    return re.sub(r"[^a-z0-9._-]+", "-", stem.lower())[:63].strip("._-") or "model"
