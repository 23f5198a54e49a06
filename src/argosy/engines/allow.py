"""The names a pickle or skops file may use. Whatever is not vouched for here is refused; there is no list of bad names.

A name stands for a *value*, which may stay in the loaded object (types of numbers, ufuncs, metrics: functions from
arrays to numbers), or for a *part*, which is used only to rebuild objects. Parts reach the machine as `Part`, which
nothing but the machine can call, so that no part is left in a model to be called with a request's rows.
"""

import importlib
import re
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

VALUES: frozenset[Name] = frozenset(
    {
        ("numpy", "mean"),
        ("numpy", "median"),
        ("scipy._lib.array_api_compat.numpy._aliases", "asarray"),
        ("sklearn.cluster._kmeans", "_kmeans_single_lloyd"),
        ("sklearn.cluster._kmeans", "_kmeans_single_elkan"),
        ("sklearn.preprocessing._function_transformer", "_identity"),
    }
)
"""Functions that estimators keep by name: numbers in, numbers out, whatever the arguments."""

_NUMERIC = re.compile(
    r"sklearn\.metrics\._(classification|regression|ranking|scorer)\.\w+_(score|error|loss)"
    r"|sklearn\.feature_selection\._\w+\.(f_classif|f_regression|r_regression|chi2|f_oneway|mutual_info_\w+)"
)
"""The same, for scorers and feature selectors."""

FUNCTIONS: frozenset[Name] = frozenset(
    {
        ("_codecs", "encode"),
        ("copyreg", "_reconstructor"),
        ("numpy._core.multiarray", "_reconstruct"),
        ("numpy._core.multiarray", "scalar"),
        ("numpy._core.numeric", "_frombuffer"),
        ("numpy.ma.core", "_mareconstruct"),
        ("numpy.random._pickle", "__bit_generator_ctor"),
        ("numpy.random._pickle", "__generator_ctor"),
        ("numpy.random._pickle", "__randomstate_ctor"),
        ("numpy.random.bit_generator", "__pyx_unpickle_SeedSequence"),
        ("sklearn.metrics._dist_metrics", "newObj"),
        ("sklearn.neighbors._ball_tree", "newObj"),
        ("sklearn.neighbors._kd_tree", "newObj"),
    }
)
"""Functions that rebuild an object from data. `engines.calls` says for each with which arguments."""

CLASSES: frozenset[Name] = frozenset(
    {
        ("collections", "OrderedDict"),
        ("collections", "defaultdict"),
        *(("datetime", name) for name in ("date", "datetime", "time", "timedelta")),
        *(("numpy", name) for name in ("dtype", "ndarray", "memmap")),
        ("numpy.ma", "MaskedArray"),
        ("numpy.ma.core", "MaskedArray"),
        *(("numpy.random._" + name.lower(), name) for name in ("MT19937", "PCG64", "Philox", "SFC64")),
        ("numpy.random._pcg64", "PCG64DXSM"),
        ("numpy.random.bit_generator", "SeedSequence"),
        ("scipy.interpolate._bsplines", "BSpline"),
        ("scipy.sparse._csc", "csc_array"),
        ("scipy.sparse._csc", "csc_matrix"),
        ("scipy.sparse._csr", "csr_array"),
        ("scipy.sparse._csr", "csr_matrix"),
        ("joblib.numpy_pickle", "NumpyArrayWrapper"),
        ("lightgbm.basic", "Booster"),
        ("xgboost.core", "Booster"),
        ("sklearn.calibration", "_CalibratedClassifier"),
        ("sklearn.cluster._birch", "_CFNode"),
        ("sklearn.cluster._birch", "_CFSubcluster"),
        ("sklearn.cluster._bisect_k_means", "_BisectingTree"),
        ("sklearn.compose._column_transformer", "make_column_selector"),
        ("sklearn.ensemble._hist_gradient_boosting.predictor", "TreePredictor"),
        ("sklearn._loss.link", "Interval"),
        ("sklearn.tree._tree", "Tree"),
        ("sklearn.utils._bunch", "Bunch"),
        ("sklearn.utils._metadata_requests", "MetadataRequest"),
        ("sklearn.utils._metadata_requests", "MethodMetadataRequest"),
    }
)
"""Classes of objects that fitted estimators hold."""

BASES: tuple[Name, ...] = (
    ("sklearn.base", "BaseEstimator"),
    ("sklearn._loss._loss", "CyLossFunction"),
    ("sklearn._loss._loss", "CyHalfMultinomialLoss"),
    ("sklearn._loss.link", "BaseLink"),
    ("sklearn._loss.loss", "BaseLoss"),
    ("sklearn.gaussian_process.kernels", "Kernel"),
    ("sklearn.metrics._dist_metrics", "DistanceMetric"),
    ("sklearn.metrics._scorer", "_BaseScorer"),
    ("sklearn.metrics._scorer", "_PassthroughScorer"),
    ("sklearn.model_selection._split", "BaseCrossValidator"),
    ("sklearn.model_selection._split", "BaseShuffleSplit"),
    ("sklearn.model_selection._split", "_RepeatedSplits"),
    ("sklearn.neighbors._kd_tree", "BinaryTree64"),
    ("sklearn.neighbors._kd_tree", "BinaryTree32"),
    ("sklearn.neighbors._ball_tree", "BinaryTree64"),
    ("sklearn.neighbors._ball_tree", "BinaryTree32"),
    ("sklearn.neural_network._stochastic_optimizers", "BaseOptimizer"),
)
"""Classes of scikit-learn, XGBoost and LightGBM derived from one of these are parts, too, where they are defined."""

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
    if key in FUNCTIONS or key in CLASSES:
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
