"""A model of two features, trained once and pushed with its sample, and rows it has not seen."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import lightgbm
import numpy as np
import pandas as pd
import pytest

from argosy.monitoring.performance import reference
from argosy.packaging.options import PushOptions
from argosy.packaging.package import Package, open_package
from argosy.packaging.push import push
from argosy.spec.endpoint import Endpoint
from argosy.spec.monitor import Monitor
from argosy.spec.payload import PayloadLog
from argosy.spec.settings import Home, Settings
from argosy.store import open_store
from argosy.store.store import Store
from argosy.store.version import Version

CITIES = ("oslo", "rome")


def world(rows: int, seed: int, shift: float = 0.0) -> pd.DataFrame:
    """Age and income, and whether they bought: the chance rises with both, and is least certain in the middle."""
    rng = np.random.default_rng(seed)
    age, income = rng.normal(shift, 1.0, rows), rng.normal(0.0, 1.0, rows)
    bought = rng.random(rows) < 1 / (1 + np.exp(-2.0 * age - income))
    return pd.DataFrame({"age": age, "income": income, "bought": bought.astype(int)})


@pytest.fixture(scope="session")
def store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Store]:
    place = tmp_path_factory.mktemp("home")
    opened = open_store(Home(place).create(), Settings())
    yield opened
    opened.close()


@pytest.fixture(scope="session")
def version(store: Store, tmp_path_factory: pytest.TempPathFactory) -> Version:
    folder = tmp_path_factory.mktemp("model")
    rows = world(3000, seed=1)
    data = lightgbm.Dataset(rows[["age", "income"]], label=rows["bought"])
    options: dict[str, Any] = {"objective": "binary", "num_leaves": 7, "verbosity": -1, "num_threads": 1}
    lightgbm.train(options, data, 30).save_model(folder / "shop.txt")
    rows[["age", "income"]].to_parquet(folder / "sample.parquet")
    options_ = PushOptions(sample=folder / "sample.parquet", convert=False)
    return push(folder / "shop.txt", name="shop", store=store, options=options_, report=lambda step: None)


@pytest.fixture(scope="session")
def package(store: Store, version: Version) -> Package:
    return open_package(store.unpacked(version.digest))


@pytest.fixture(scope="session")
def references(tmp_path_factory: pytest.TempPathFactory, package: Package, version: Version) -> Path:
    """The folder of references, with what the model answers to `held_out`, made once."""
    place = Home(tmp_path_factory.mktemp("scored"))
    world(2000, seed=2).to_parquet(place.root / "held-out.parquet")
    monitor = Monitor(reference=str(place.root / "held-out.parquet"), label="bought")
    endpoint = reference.pinned(Endpoint(name="shop", model="shop:1", payload=PayloadLog(), monitor=monitor))
    assert endpoint.monitor is not None
    reference.scored(place, endpoint.monitor, package, version.digest, PayloadLog())
    return reference.folder(place)


@pytest.fixture
def home(tmp_path: Path) -> Home:
    return Home(tmp_path / "h").create()


@pytest.fixture
def held_out(tmp_path: Path) -> Path:
    path = tmp_path / "held-out.parquet"
    world(2000, seed=2).to_parquet(path)
    return path
