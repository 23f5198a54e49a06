"""`argosy.load`: a model in this process, with the same golden check that every replica makes."""

import re
import tempfile
import weakref
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from argosy.spec.errors import InvalidArgument, NotFound
from argosy.spec.settings import home
from argosy.spec.settings import load as settings_of

if TYPE_CHECKING:
    from argosy.packaging.load import LoadedModel
    from argosy.packaging.options import PushOptions
    from argosy.store import Store
    from argosy.store.version import Version


class Located(msgspec.Struct, frozen=True, kw_only=True):
    """A package folder, and what it is called. `temporary`: to be deleted with `folder` when it is no longer needed."""

    folder: Path
    name: str
    version: str = "1"
    digest: str = ""
    temporary: tempfile.TemporaryDirectory[str] | None = None

    def release(self) -> None:
        """Delete the folder if it was made for this use."""
        if self.temporary is not None:
            self.temporary.cleanup()


def load(ref: str | Path, *, threads: int = 0) -> "LoadedModel":
    """A model by reference (`digits:1`, `digits@champion`, `digits`, a digest) or by path.

    A path is a package folder or a model file that `argosy push` would take. References are looked up in the store of
    ARGOSY_HOME. `threads` are the engine's, 0 the cores this process may use. Raises NotFound, and GoldenMismatch when
    the model does not answer as it did when it was packaged.
    """
    from argosy.packaging.load import load as load_package
    from argosy.packaging.package import open_package

    located = locate(ref)
    try:
        model = load_package(open_package(located.folder), threads=threads)
    except BaseException:
        located.release()
        raise
    weakref.finalize(model, located.release)
    return model


def locate(
    ref: str | Path, options: "PushOptions | None" = None, report: Callable[[str], None] = lambda step: None
) -> Located:
    """The package of a path or a reference; a model file is packaged into a temporary folder.

    Raises NotFound, InvalidArgument for options on what is packaged already, and what packaging raises.
    """
    from argosy.packaging.options import PushOptions

    path, options = Path(ref), options or PushOptions()
    if _is_model(path):
        return _packaged(path, options, report)
    if options != PushOptions():
        raise InvalidArgument(f"'{ref}' is packaged already: how to package it cannot be said any more")
    if (path / "model.yaml").is_file():
        from argosy.packaging.package import open_package

        return Located(folder=path, name=open_package(path).manifest.name)
    if isinstance(ref, Path) or "/" in ref:
        raise NotFound(f"there is no model at {path}")
    return _stored(ref)


def _is_model(path: Path) -> bool:
    return path.is_file() or (path / "MLmodel").is_file()


def _stored(ref: str) -> Located:
    from argosy.store import open_store

    place = home()
    store = open_store(place, settings_of(place))
    try:
        version = _resolved(store, ref)
        folder = store.unpacked(version.digest)
    finally:
        store.close()
    return Located(folder=folder, name=version.name, version=str(version.number), digest=version.digest)


def _resolved(store: "Store", ref: str) -> "Version":
    try:
        return store.registry.resolve(ref)
    except NotFound as error:
        if not Path(ref).suffix:
            raise
        raise NotFound(f"there is no file {ref}, and {error.message}") from None


def _packaged(path: Path, options: "PushOptions", report: Callable[[str], None]) -> Located:
    from argosy.packaging.build import build

    temporary = tempfile.TemporaryDirectory(prefix="argosy-")
    located = Located(folder=Path(temporary.name) / "package", name=name_of(path), temporary=temporary)
    try:
        build(path, located.name, located.folder, options, report)
    except BaseException:
        located.release()
        raise
    return located


def name_of(path: Path) -> str:
    """A valid model name out of a file's: `My Model.onnx` is `my-model`."""
    stem = path.stem if path.is_file() else path.name
    return re.sub(r"[^a-z0-9._-]+", "-", stem.lower())[:63].strip("._-") or "model"
