"""Estimators of scikit-learn, XGBoost, LightGBM and CatBoost as they are served, beside the library, on other rows."""

from pathlib import Path

import numpy as np
import pytest

from argosy.spec.errors import ArgosyError
from prove import answers

pytestmark = pytest.mark.filterwarnings("ignore")


def differing(step: int, rows: int, seed: int) -> tuple[int, list[str]]:
    """How many were compared, and what differs."""
    count, bad = 0, []
    with np.errstate(all="ignore"):
        for name, model, x, file in answers.cases(step):
            try:
                found = answers.compared(name, model, x, rows, seed, sampled=count % 3 > 0, file=file)
            except ArgosyError:  # what takes a sample, or is nothing that is served
                continue
            count += 1
            bad += [f"{name}, {found.engine}: {found.example}"] if found.different else []
    return count, bad


def test_every_twentieth_estimator_answers_as_its_library() -> None:
    count, bad = differing(20, 300, 101)
    assert count >= 4
    assert bad == []


@pytest.mark.slow
def test_every_estimator_answers_as_its_library() -> None:
    count, bad = differing(1, 200, 202)
    assert count >= 100
    assert bad == []


def test_a_model_that_answers_otherwise_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    """The comparison can fail: here the library is another model than the one that is packaged."""
    from sklearn.linear_model import LinearRegression

    x = np.random.default_rng(0).normal(size=(60, 3))
    right, wrong = LinearRegression().fit(x, x[:, 0]), LinearRegression().fit(x, x[:, 0] + 1e-3 * x[:, 1])
    package = answers.packaged
    monkeypatch.setattr(answers, "packaged", lambda model, *rest: package(wrong, *rest))
    found = answers.compared("linear", right, x, 200, 5, sampled=True)
    assert found.different > 150


def test_the_table_of_the_document_is_current() -> None:
    """Each estimator that is compared has its line."""
    text = Path(answers.DOCUMENT).read_text("utf-8").split(answers.BEGIN)[1].split(answers.END)[0]
    told = {line.split("|")[1].strip() for line in text.splitlines() if line.startswith("| ")} - {"estimator", "---"}
    known = {name.rpartition("-")[0] for name, _, _ in answers.matrices(20)}
    assert " 0 rows differ" in text
    assert len(told) >= 100
    assert told & known, "no estimator of today is in the table: run python -m prove.answers"
