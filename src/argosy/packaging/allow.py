"""The names a pickle may mention. Whatever is not vouched for here is an objection; there is no list of bad names.

A name passes when its package is known, its module is in no excluded part of that package, and the attribute itself is
a class *defined* in that package (not one it re-exports), a numpy ufunc, or one of the functions that pickle needs to
rebuild objects. Each rule is about what a call with chosen arguments could do.
"""

import importlib
import re
from typing import Any

from argosy.spec.errors import MissingExtra

PACKAGES = {"sklearn": "sklearn", "scipy": "sklearn", "pandas": "sklearn", "lightgbm": "lightgbm", "xgboost": "xgboost"}
"""Package → the extra that brings it. Their classes pass, outside EXCLUDED."""

EXCLUDED = re.compile(
    r"(^|\.)(tests?|_?testing|conftest|externals|datasets|_joblib|f2py|distutils|_build_utils|io|plotting|__main__)(\.|$)"
    r"|^scipy\.(stats|weave|_lib|special\._precompute)|^pandas\.(core\.computation|compat|util|_config)"
    r"|^sklearn\.utils\.(parallel|_show_versions|_test\w*)|^(lightgbm|xgboost)\.(dask|libpath|spark)"
)
"""Parts of those packages whose classes read files, run processes, evaluate text or start others."""

BUILTINS = frozenset(
    (
        *("set", "frozenset", "list", "dict", "tuple", "str", "bytes", "bytearray"),
        *("int", "float", "complex", "bool", "slice", "range", "object", "NoneType"),
    )
)

FUNCTIONS = frozenset(
    {
        ("_codecs", "encode"),
        ("copyreg", "_reconstructor"),
        ("copyreg", "__newobj__"),
        ("numpy", "mean"),
        ("numpy", "median"),
        ("numpy._core.multiarray", "_reconstruct"),
        ("numpy._core.multiarray", "scalar"),
        ("numpy._core.numeric", "_frombuffer"),
        ("numpy.random._pickle", "__bit_generator_ctor"),
        ("numpy.random._pickle", "__generator_ctor"),
        ("numpy.random._pickle", "__randomstate_ctor"),
        ("numpy.random.bit_generator", "__pyx_unpickle_SeedSequence"),
        ("numpy.ma.core", "_mareconstruct"),
        ("pandas._libs.internals", "_unpickle_block"),
        ("pandas.core.indexes.base", "_new_Index"),
        ("pandas.core.indexes.datetimes", "_new_DatetimeIndex"),
        ("pyarrow.lib", "_restore_array"),
        ("pyarrow.lib", "py_buffer"),
        ("pyarrow.lib", "type_for_alias"),
        ("scipy._lib.array_api_compat.numpy._aliases", "asarray"),
        ("sklearn.cluster._kmeans", "_kmeans_single_lloyd"),
        ("sklearn.cluster._kmeans", "_kmeans_single_elkan"),
        ("sklearn.metrics._dist_metrics", "newObj"),
        ("sklearn.neighbors._kd_tree", "newObj"),
        ("sklearn.neighbors._ball_tree", "newObj"),
        ("sklearn.preprocessing._function_transformer", "_identity"),
    }
)
"""Functions that rebuild an object from data, and the numeric ones that estimators keep by name."""

CLASSES = frozenset(
    {
        *(("collections", name) for name in ("OrderedDict", "defaultdict", "deque", "Counter")),
        *(("datetime", name) for name in ("date", "datetime", "time", "timedelta", "timezone")),
        ("decimal", "Decimal"),
        ("fractions", "Fraction"),
        ("uuid", "UUID"),
        *(("numpy", name) for name in ("dtype", "ndarray", "matrix", "recarray")),
        ("numpy.ma", "MaskedArray"),
        ("numpy.ma.core", "MaskedArray"),
        *(("numpy.random._" + name.lower(), name) for name in ("MT19937", "PCG64", "PCG64DXSM", "Philox", "SFC64")),
        ("numpy.random._pcg64", "PCG64DXSM"),
        ("numpy.random.bit_generator", "SeedSequence"),
        ("pyarrow.lib", "Buffer"),
    }
)

_OLD = {"numpy.core": "numpy._core", "__builtin__": "builtins", "copy_reg": "copyreg"}
_NUMERIC = re.compile(
    r"sklearn\.metrics\.[\w.]+\.\w+_(score|error|loss)"
    r"|sklearn\.feature_selection\._\w+\.(f_classif|f_regression|r_regression|chi2|f_oneway|mutual_info_\w+)"
)
"""Functions from arrays to numbers that scorers and feature selectors keep."""


def objection(module: str, name: str) -> str:
    """Why this global may not be loaded; empty when it may. Raises MissingExtra where its package is not installed."""
    module = next((new + module[len(old) :] for old, new in _OLD.items() if f"{module}.".startswith(f"{old}.")), module)
    if (module, name) in FUNCTIONS or (module, name) in CLASSES or (module == "builtins" and name in BUILTINS):
        return ""
    full = f"{module}.{name}"
    root = module.partition(".")[0]
    if "." in name or EXCLUDED.search(module) or (root not in PACKAGES and root != "numpy"):
        return full
    return "" if _vouched(root, module, name) else full


def _vouched(root: str, module: str, name: str) -> bool:
    """Whether the attribute that the name really leads to is harmless."""
    found = _attribute(root, module, name)
    if root == "numpy" or _is_ufunc(found):
        return _is_numpy_value(found)
    if isinstance(found, type):
        home = found.__module__
        return home.partition(".")[0] == root and not EXCLUDED.search(home)
    if name.startswith("__pyx_unpickle_"):
        return True
    return bool(_NUMERIC.fullmatch(f"{module}.{name}")) and callable(found)


def _attribute(root: str, module: str, name: str) -> Any:
    try:
        importlib.import_module(root)
    except ImportError:
        raise MissingExtra.named(
            PACKAGES.get(root, root), f"This pickle mentions {module}.{name}; loading it"
        ) from None
    try:
        return getattr(importlib.import_module(module), name, None)
    except Exception:
        return None


def _is_numpy_value(found: Any) -> bool:
    """Ufuncs, scalar types and dtype classes: they make or compute numbers, whatever the arguments."""
    import numpy as np

    return _is_ufunc(found) or (isinstance(found, type) and issubclass(found, np.generic | np.dtype))


def _is_ufunc(found: Any) -> bool:
    import numpy as np

    return isinstance(found, np.ufunc)
