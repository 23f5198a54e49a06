"""C of trees against their libraries, on rows that lie on thresholds: the same labels, and scores to the last place."""

import subprocess
from fractions import Fraction

import msgspec
import numpy as np
import pytest

from argosy.embedded import report
from argosy.engines.trees import sklearn
from argosy.engines.trees.form import evaluate
from argosy.spec.errors import Unsupported
from tests import programs
from tests.embedded.kinds import KINDS, ROWS, code_of, data

QUICK = (
    "histograms, categories",
    "lightgbm, categories",
    "xgboost, two classes",
    "lightgbm, LGBMClassifier, two classes",
)


def places(one, other):
    """How many float32 lie between two arrays, at most."""
    numbers = [np.asarray(each, np.float32).view(np.int32).astype(np.int64) for each in (one, other)]
    low, high = (np.where(each < 0, -(each & 0x7FFF_FFFF), each) for each in numbers)
    return int(np.abs(low - high).max())


def check(name, rows, compiled):
    """The C and the definition in numpy answer as the library does; the labels that differ are ties."""
    tried = KINDS[name](rows)
    found, refused = compiled(code_of(tried.form)).ask(tried.rows)
    assert not refused
    assert places(found[-1], tried.scores.reshape(found[-1].shape)) <= (0 if name.startswith("xgboost") else 1)
    _, scores = evaluate(tried.form, tried.rows[:300])
    assert np.allclose(scores, tried.scores[:300].reshape(scores.shape), rtol=1e-5, atol=1e-6)
    if tried.labels is not None:
        assert all(tie(tried, row) for row in np.flatnonzero(found[0][:, 0] != tried.labels).tolist())


def tie(tried, row):
    """Whether the two largest mean shares of a forest are the same fraction."""
    first, second = sorted(tried.scores[row])[-2:]
    return Fraction(float(first)).limit_denominator(10**9) == Fraction(float(second)).limit_denominator(10**9)


@pytest.mark.parametrize("name", QUICK)
def test_c_answers_as_the_library_does(name, compiled):
    check(name, 1000, compiled)


@pytest.mark.slow
@pytest.mark.parametrize("name", KINDS)
def test_c_answers_as_the_library_does_on_10_000_rows(name, compiled):
    check(name, ROWS, compiled)


@pytest.mark.slow
@pytest.mark.parametrize("name", KINDS)
def test_the_estimate_is_within_5_percent_of_the_elf(name):
    programs.need("arm-none-eabi-gcc")
    code = code_of(KINDS[name](10).form)
    measured = report.measure(code)[report.DEVICE]
    assert code.estimate.flash == pytest.approx(measured.flash, rel=0.05)


def test_the_digits_forest_takes_42_000_bytes_at_most(tmp_path):
    programs.need("gcc")
    from sklearn.ensemble import RandomForestClassifier

    form = sklearn.read(RandomForestClassifier(n_estimators=50, max_depth=10, random_state=0).fit(*data("digits")))
    for name, text in code_of(form).files.items():
        (tmp_path / name).write_text(text)
    subprocess.run(["gcc", "-Os", "-c", "model.c"], cwd=tmp_path, check=True)
    said = subprocess.run(["size", "model.o"], cwd=tmp_path, check=True, capture_output=True, text=True).stdout
    assert int(said.splitlines()[1].split()[0]) <= 42_000


def test_nothing_but_stdint_and_the_compiler_is_needed(tmp_path):
    programs.need("gcc")
    code = code_of(KINDS["xgboost, ten classes"](10).form)
    for name, text in code.files.items():
        (tmp_path / name).write_text(text)
    subprocess.run(["gcc", "-O2", "-c", "model.c"], cwd=tmp_path, check=True)
    said = subprocess.run(["nm", "-u", "model.o"], cwd=tmp_path, check=True, capture_output=True, text=True).stdout
    assert said == ""
    assert [line for line in code.source.splitlines() if line.startswith("#include")] == ['#include "model.h"']


def test_what_the_model_refuses_is_refused(compiled):
    form = KINDS["boosting regressor"](10).form
    closed = msgspec.structs.replace(form, gaps=("refused",) * 10, limits=(100.0,) * 10)
    rows = np.zeros((4, 10), np.float32)
    rows[1, 3], rows[2, 9], rows[3, 0] = np.nan, 101, 100
    assert compiled(code_of(closed)).ask(rows)[1] == [1, 2]
    with pytest.raises(Unsupported, match="a missing value where the model has no rule"):
        evaluate(closed, rows)


def test_refusals_may_differ_by_column(compiled):
    form = KINDS["boosting regressor"](10).form
    closed = msgspec.structs.replace(form, gaps=("node", "refused") * 5, limits=(np.inf, 100.0) * 5)
    rows = np.zeros((5, 10), np.float32)
    rows[1, 2], rows[2, 3], rows[3, 2], rows[4, 3] = np.nan, np.nan, 1e30, 1e30
    assert compiled(code_of(closed)).ask(rows)[1] == [2, 4]


@pytest.mark.parametrize("depth", [0, 1])
def test_a_leaf_and_a_stump_are_trees(depth, compiled):
    from sklearn.tree import DecisionTreeRegressor

    x, y = data("diabetes")
    model = DecisionTreeRegressor(max_depth=1).fit(x, y if depth else np.ones(len(y)))
    found, _ = compiled(code_of(sklearn.read(model))).ask(x)
    assert np.array_equal(found[0][:, 0], model.predict(x).astype(np.float32))
