"""The names a pickle or skops file may use. Whatever is not vouched for here is refused; there is no list of bad names.

A name stands for a *value*, which may stay in the loaded object (types of numbers, ufuncs, metrics: functions from
arrays to numbers), or for a *part*, which is used only to rebuild objects. Parts reach the machine as `Part`, which
nothing but the machine can call, so that no part is left in a model to be called with a request's rows.
"""

import importlib
import re
import tomllib
from pathlib import Path
from typing import Any

from argosy.spec.errors import MissingExtra

Name = tuple[str, str]

EXTRAS = {"sklearn": "sklearn", "scipy": "sklearn", "lightgbm": "lightgbm", "xgboost": "xgboost", "joblib": "sklearn"}
"""Package → the extra that brings it."""

EXCLUDED = re.compile(
    r"(^|\.)(tests?|_?testing|_?test_\w*|conftest|externals|datasets|_joblib|_build_utils|callback|_mocking"
    r"|estimator_checks|experimental|inspection|plotting|_plot|dask|spark|parallel|__main__)(\.|$)"
)
"""Parts of those packages whose classes read files, run processes, start others, or are for tests."""

BUILTINS = frozenset(
    {
        *("set", "frozenset", "list", "dict", "tuple", "str", "bytes", "bytearray"),
        *("int", "float", "complex", "bool", "slice", "range", "object"),
    }
)

_TABLE = tomllib.loads(Path(__file__).with_suffix(".toml").read_text())


def listed(section: str) -> frozenset[Name]:
    """The names of a section of `allow.toml`, which says what they are."""
    return frozenset((module, name) for module, names in _TABLE[section].items() for name in names)


VALUES, PARTS, BASES = listed("values"), listed("functions") | listed("classes"), listed("bases")

_NUMERIC = re.compile(
    r"sklearn\.metrics\._(classification|regression|ranking|scorer)\.\w+_(score|error|loss)"
    r"|sklearn\.feature_selection\._\w+\.(f_classif|f_regression|r_regression|chi2|f_oneway|mutual_info_\w+)"
)
"""Values, too: scorers, and what selects features."""

_SEARCHED = re.compile(r"numpy(\._core\.\w+)?|scipy\.special(\._\w+)?|(lightgbm|xgboost)\.sklearn|sklearn\.[\w.]+")
"""Modules that may be imported to find out whether a name of theirs is a value or a part."""

_OLD = {"numpy.core": "numpy._core", "__builtin__": "builtins", "copy_reg": "copyreg"}
_MODULE, _IDENTIFIER = re.compile(r"[A-Za-z_]\w*(\.[A-Za-z_]\w*)*", re.ASCII), re.compile(r"[A-Za-z_]\w*", re.ASCII)


class Refused(Exception):
    """What a file asks for that nobody vouches for; the text says what, in the words of the file."""


class Part:
    """A function or class that the machine may use to rebuild objects, under the name it was asked for. It is neither
    callable nor iterable: one that is left in an estimator is of no use to it."""

    __slots__ = ("name", "target")

    def __init__(self, name: Name, target: Any) -> None:
        self.name = name
        self.target = target


def exact(value: Any, kind: type) -> bool:
    """Whether the value is of this very type: a subclass could do anything when it is asked something."""
    return type(value) is kind


def resolve(module: str, name: str) -> Any:
    """What the name stands for: a value, or a `Part`. Raises Refused for a name that nobody vouches for or that does
    not exist, MissingExtra where its package is not installed."""
    said = f"{module}.{name}"[:200]
    module = next((new + module[len(old) :] for old, new in _OLD.items() if f"{module}.".startswith(f"{old}.")), module)
    if not _MODULE.fullmatch(module) or not _IDENTIFIER.fullmatch(name):
        raise Refused(said)
    key = (module, name)
    root = module.partition(".")[0]
    if (module == "builtins" and name in BUILTINS) or key in VALUES:
        return _existing(key, said)
    if key in PARTS:
        return Part(key, _existing(key, said))
    if not _SEARCHED.fullmatch(module) or EXCLUDED.search(module):
        raise Refused(said)
    found = _existing(key, said)
    if _is_number_maker(root, module, found) or (callable(found) and _NUMERIC.fullmatch(f"{module}.{name}")):
        return found
    if root in ("sklearn", "lightgbm", "xgboost") and _is_part(key, found):
        return Part(key, found)
    raise Refused(said)


def _existing(key: Name, said: str) -> Any:
    """The attribute, of a module that is imported for it. Only packages that were vouched for get here."""
    root = key[0].partition(".")[0]
    try:
        importlib.import_module(root)
    except ImportError:
        raise MissingExtra.named(EXTRAS.get(root, root), f"This file mentions {said}; loading it") from None
    try:
        return vars(importlib.import_module(key[0]))[key[1]]
    except Exception:
        raise Refused(f"{said}, which does not exist here") from None


def _is_number_maker(root: str, module: str, found: Any) -> bool:
    """Ufuncs of numpy and scipy.special, scalar types: they make or compute numbers, whatever the arguments."""
    import numpy as np

    if isinstance(found, np.ufunc):
        return root == "numpy" or module.startswith("scipy.special")
    return root == "numpy" and isinstance(found, type) and issubclass(found, np.generic)


def _is_part(key: Name, found: Any) -> bool:
    """Whether this is a class, in the place where it is defined, of a kind that fitted estimators consist of."""
    if not isinstance(found, type) or (found.__module__, found.__qualname__) != key or "PyFunc" in key[1]:
        return False
    return any((base.__module__, base.__qualname__) in BASES for base in found.__mro__)
