"""Pickle and joblib files, loaded under the allow-list of `engines.allow`, or without it where the caller vouches."""

from pathlib import Path
from typing import Any, NamedTuple

from argosy.engines.allow import Name, Refused
from argosy.engines.base import check_file, require, short
from argosy.engines.compressed import open_plain
from argosy.spec.errors import ArgosyError, BadPackage, Untrusted


class Contents(NamedTuple):
    """What a file holds: the names it uses, and what of it nobody vouches for."""

    names: tuple[Name, ...]
    objections: tuple[str, ...]


def load(path: Path, *, trusted: bool = False) -> Any:
    """The object in a pickle or joblib file, perhaps compressed. `trusted`: load whatever it holds, as joblib does.

    Raises Untrusted naming what nobody vouches for, BadPackage for a broken file, MissingExtra.
    """
    check_file(path, "a pickle")
    joblib = require("joblib", "sklearn", f"the joblib file {path.name}")
    if trusted:
        try:
            return joblib.load(path)
        except Exception as error:
            raise BadPackage(f"{path.name} cannot be loaded: {type(error).__name__}: {short(error)}") from None
    try:
        return _read(path, {}, None)
    except Refused as refused:
        raise untrusted(path, refused) from None


def broken(path: Path, error: BadPackage) -> BadPackage:
    """What the user is told of a file that is broken: what is said of "it" is said of the file by its name."""
    return BadPackage(f"{path.name}: {error.message}" if error.message.startswith("it ") else error.message)


def untrusted(path: Path, refused: Refused) -> Untrusted:
    """What the user is told of a file that was refused."""
    return Untrusted(
        f"loading {path.name} would use {short(refused)}, which Argosy does not vouch for; if you know where the file "
        "comes from, push it again with --trust"
    )


def contents(path: Path) -> Contents:
    """What a file would use, found by loading it under the allow-list. Raises BadPackage for a broken one.

    No objections means that it was loaded whole. After the first one, nothing that depends on what was refused is made;
    the rest is gone through as far as that goes.
    """
    check_file(path, "a pickle")
    require("joblib", "sklearn", f"the joblib file {path.name}")
    names: dict[Name, None] = {}
    objections: dict[str, None] = {}
    try:
        _read(path, names, objections)
    except Refused as refused:
        objections[short(refused)] = None
    except BadPackage:
        if not objections:
            raise
    return Contents(tuple(names), tuple(objections))


def _read(path: Path, names: dict[Name, None], objections: dict[str, None] | None) -> Any:
    from argosy.engines.machine import Machine

    try:
        with open_plain(path) as file:
            return Machine(file, path.name, names, objections).whole()
    except BadPackage as error:
        raise broken(path, error) from None
    except (ArgosyError, Refused):
        raise
    except EOFError:
        raise BadPackage(f"{path.name} is a pickle that is cut off") from None
    except MemoryError:
        raise BadPackage(f"{path.name} takes more memory than there is") from None
    except Exception as error:
        raise BadPackage(f"{path.name} is a broken pickle: {type(error).__name__}: {short(error)}") from None
