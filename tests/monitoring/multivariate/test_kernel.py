import numpy as np
import pytest

from argosy.monitoring.multivariate import kernel
from tests.monitoring.multivariate.worlds import butterfly, digits, moved, noisy, turned


@pytest.mark.parametrize("features", [None, 256])
def test_a_turned_butterfly(features: int | None):
    rng = np.random.default_rng(1)
    found = kernel.compare(butterfly(rng, 300), turned(butterfly(rng, 200)), 200, features)
    assert found.p == 1 / 201
    assert found.effect > 0.2


@pytest.mark.parametrize("features", [None, 64])
def test_no_more_alarms_than_its_level(features: int | None):
    alarms = 0
    for seed in range(80):
        rng = np.random.default_rng(seed)
        alarms += kernel.compare(rng.normal(size=(60, 4)), rng.normal(size=(40, 4)), 99, features, seed).p <= 0.05
    assert alarms <= 10


def test_images():
    x, _, _ = digits()
    rng = np.random.default_rng(2)
    assert kernel.compare(x[:400], x[400:600], 200).p > 0.01
    assert kernel.compare(x[:400], moved(x[400:600]).reshape(-1, 8, 8), 200).p == 1 / 201
    assert kernel.compare(x[:400], noisy(rng, x[400:600], 8.0), 200, 256).p == 1 / 201


def test_features_stand_for_the_kernel():
    rng = np.random.default_rng(3)
    z = rng.normal(size=(50, 3))
    table = kernel.random_features(rng, z, 0.3, 8192)
    assert table @ table.T == pytest.approx(kernel.kernel_matrix(z, 0.3), abs=0.06)


def test_the_rows_it_names_are_the_ones_that_are_new():
    rng = np.random.default_rng(4)
    current = rng.normal(size=(200, 2))
    current[:20] += 4
    assert set(kernel.compare(rng.normal(size=(400, 2)), current, 50).rows) <= set(range(20))


def test_large_samples_are_drawn_from(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(kernel, "EXACT_ROWS", 50)
    rng = np.random.default_rng(5)
    current = np.concatenate([rng.normal(size=(100, 2)), rng.normal(9, 1, size=(100, 2))])
    found = kernel.compare(rng.normal(size=(500, 2)), current, 50)
    assert found.p == 1 / 51
    assert min(found.rows) >= 100


def test_constant_and_missing():
    x = np.column_stack([np.ones(30), np.full(30, np.nan)])
    assert kernel.compare(x, x[:10], 20).p == 1


def test_a_hole_does_not_hide_a_column():
    rng = np.random.default_rng(6)
    reference, current = rng.normal(size=(100, 2)), rng.normal(3, 1, size=(60, 2))
    reference[0], current[0, 1] = np.nan, np.nan
    assert kernel.compare(reference, current, 50).p == 1 / 51
