"""Names that are vouched for, and names that are not."""

import sys

import pytest

from argosy.engines.allow import Refused, resolve
from argosy.spec.errors import MissingExtra


@pytest.mark.parametrize(
    ("module", "name"),
    [
        ("sklearn.utils._joblib", "joblib"),
        ("sklearn.utils", "os.system"),
        ("sklearn.externals._packaging.version", "Version"),
        ("sklearn.datasets._base", "load_files"),
        ("sklearn.base", "clone"),
        ("sklearn.tree", "subprocess"),
        ("sklearn.base", "warnings"),
        ("numpy", "save"),
        ("numpy.f2py", "run_main"),
        ("numpy.testing._private.utils", "runstring"),
        ("numpy.ctypeslib", "load_library"),
        ("scipy.stats", "rv_discrete"),
        ("scipy.io", "loadmat"),
        ("pandas", "read_pickle"),
        ("pandas.io.pytables", "HDFStore"),
        ("pandas.core.computation.eval", "eval"),
        ("lightgbm.dask", "DaskLGBMClassifier"),
        ("builtins", "eval"),
        ("__builtin__", "eval"),
        ("posix", "system"),
        ("nt", "system"),
        ("sys", "exit"),
        ("torch", "load"),
        ("sklearn.no_such_module", "Thing"),
        ("joblib.memory", "Memory"),
        ("pandas", "DataFrame"),
        ("pyarrow.lib", "py_buffer"),
        ("numpy", "memmap.__class__"),
        ("numpy._core", "_ufunc_reconstruct"),
        ("sklearn.metrics._dist_metrics", "PyFuncDistance64"),
        ("sklearn.tree", "DecisionTreeClassifier.fit"),
        ("sklearn.linear_model", "LogisticRegression"),
        ("sklearn.utils._mocking", "CheckingClassifier"),
        ("fractions", "Fraction"),
    ],
)
def test_names_nobody_vouches_for(module, name):
    with pytest.raises(Refused):
        resolve(module, name)


@pytest.mark.parametrize(
    ("module", "name"),
    [
        ("sklearn.tree._classes", "DecisionTreeClassifier"),
        ("sklearn.metrics._classification", "accuracy_score"),
        ("numpy.core.multiarray", "_reconstruct"),
        ("numpy", "log1p"),
        ("numpy", "float64"),
        ("scipy.sparse._csr", "csr_matrix"),
        ("lightgbm.sklearn", "LGBMClassifier"),
        ("xgboost.core", "Booster"),
        ("collections", "OrderedDict"),
        ("__builtin__", "set"),
    ],
)
def test_names_that_models_need(module, name):
    resolve(module, name)


def test_a_package_that_is_not_installed_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "lightgbm", None)
    with pytest.raises(MissingExtra, match=r"mentions lightgbm\.sklearn\.LGBMClassifier.*\[lightgbm\]"):
        resolve("lightgbm.sklearn", "LGBMClassifier")
    with pytest.raises(Refused, match="does not exist here"):
        resolve("sklearn.tree._classes", "NoSuchTree")
