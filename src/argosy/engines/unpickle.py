"""Pickle, joblib and skops files: loaded under the allow-list of `engines.allow`; whole where they are trusted.

Two modules read them, each under the same rules: `machine` pickles, `skops_file` archives of skops.
"""

import importlib
import sys
from pathlib import Path
from typing import Any, NamedTuple

from argosy.engines.allow import Name, Refused
from argosy.engines.base import check_file, require, short
from argosy.spec.errors import ArgosyError, BadPackage, Untrusted

CODE = "code"
"""The folder beside a pickle with code of its author, which a package may have."""


class Contents(NamedTuple):
    """What a file holds: the names it uses, and what of it nobody vouches for."""

    names: tuple[Name, ...]
    objections: tuple[str, ...]


def load(path: Path, *, trusted: bool = False) -> Any:
    """The object in a file. `trusted`: load whatever it holds, as its library does. Raises Untrusted naming what nobody
    vouches for, BadPackage for a broken file, MissingExtra."""
    reader = _reader(path)
    if trusted:
        _importable(path.parent / CODE)
        try:
            return reader.read_trusted(path)
        except ArgosyError:
            raise
        except ModuleNotFoundError as error:
            raise BadPackage(
                f"{path.name} cannot be loaded without the module '{error.name}': install it where Argosy runs, or, if "
                "it is your own, give its code with --code"
            ) from None
        except Exception as error:
            raise BadPackage(f"{path.name} cannot be loaded: {type(error).__name__}: {short(error)}") from None
    try:
        return _read(reader, path, {}, None)
    except Refused as refused:
        raise Untrusted(
            f"loading {path.name} would use {short(refused)}, which Argosy does not vouch for; if you know where the "
            "file comes from, push it again with --trust"
        ) from None


def _importable(folder: Path) -> None:
    """Let this process import the code, after everything else that it can import. Wheels are imported as they are."""
    if folder.is_dir():
        sys.path += [place for place in (str(folder), *map(str, sorted(folder.glob("*.whl")))) if place not in sys.path]


def contents(path: Path) -> Contents:
    """What a file would use, found by loading it under the allow-list. Raises BadPackage for a broken one.

    No objections means that it was loaded whole. After the first one, nothing that depends on what was refused is made;
    the rest is gone through as far as that goes.
    """
    reader = _reader(path)
    names: dict[Name, None] = {}
    objections: dict[str, None] = {}
    try:
        _read(reader, path, names, objections)
    except Refused as refused:
        objections[short(refused)] = None
    except BadPackage:
        if not objections:
            raise
    return Contents(tuple(names), tuple(objections))


def _reader(path: Path) -> Any:
    check_file(path, "a scikit-learn model")
    with path.open("rb") as file:
        archive = file.read(4) == b"PK\x03\x04"
    if archive:
        require("skops.io", "sklearn", f"the skops file {path.name}")
    else:
        require("joblib", "sklearn", f"the joblib file {path.name}")
    return importlib.import_module(f"argosy.engines.{'skops_file' if archive else 'machine'}")


def _read(reader: Any, path: Path, names: dict[Name, None], objections: dict[str, None] | None) -> Any:
    try:
        return reader.read(path, names, objections)
    except BadPackage as error:
        raise BadPackage(
            f"{path.name}: {error.message}" if error.message.startswith("it ") else error.message
        ) from None
    except (ArgosyError, Refused):
        raise
    except MemoryError:
        raise BadPackage(f"{path.name} takes more memory than there is") from None
    except Exception as error:
        raise BadPackage(f"{path.name} is a broken {reader.KIND}: {type(error).__name__}: {short(error)}") from None
