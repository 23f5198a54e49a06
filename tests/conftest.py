"""Servers that tests share: one of each a session, held by one worker, which runs all the tests that need it."""

import os
import signal
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from hypothesis import HealthCheck, settings

import argosy.store.keys  # noqa: F401 - the tables register themselves on import
from argosy.store import objects
from argosy.store.database import Database
from tests import postgres as servers
from tests import weed
from tests.kubernetes import plane
from tests.leftovers import pytest_configure, pytest_sessionfinish, pytest_terminal_summary, pytest_unconfigure

__all__ = ["pytest_configure", "pytest_sessionfinish", "pytest_terminal_summary", "pytest_unconfigure"]

os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
"""Of workers and of what tests start: threads of BLAS spin while they wait, which costs more than it gives."""

os.environ.setdefault("ARGOSY_GATEWAY_MAX_CONNECTIONS_PER_ADDRESS", "4096")
"""No bound: with one, Envoy compiles 32 copies of its filters, in four times the time. Who tests it declares it."""

for each in ("connect", "read", "write", "pool"):  # 5 s otherwise, which is an assertion about time
    setattr(httpx._config.DEFAULT_TIMEOUT_CONFIG, each, 60.0)

if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:  # in a shell's background job; what tests start would inherit it
    signal.signal(signal.SIGINT, signal.default_int_handler)

settings.register_profile(
    "ci", max_examples=40, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.too_slow]
)  # the same examples in every run; `thorough` looks for new ones
settings.register_profile("thorough", max_examples=2000, deadline=None)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "ci"))

GROUPS = {
    "postgres": "postgres",
    "weed_url": "weed",
    "bucket": "weed",
    "_chromium": "console",
    "tests/monitoring/performance/live": "quality",
    "tests/embedded": "embedded",
    "tests/engines": "engines",
    "tests/distributions/mlflow": "engines",
    "cached_home": "images",
    "kubernetes": "kubernetes",
}
"""A fixture, or a parameter that asks for one, or a folder, and the group of the tests that share it, or what it makes
or imports: models and frameworks take seconds in each worker."""


def params(item: pytest.Function) -> dict[str, object]:
    """The parameters of a test."""
    return item.callspec.params if hasattr(item, "callspec") else {}


def pytest_make_parametrize_id(val: object) -> str | None:
    """Short ids for megabytes of input: each worker sends all ids, and each report holds one of them."""
    return f"{str(val[:40])!a} and {len(val) - 40} more" if isinstance(val, str | bytes) and len(val) > 200 else None


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Tests of one server go to one worker: marked before pytest-xdist reads the marks."""
    for item in items:
        assert isinstance(item, pytest.Function)
        asked = {*item.fixturenames, *(each for each in params(item).values() if isinstance(each, str))}
        asked.add(item.nodeid.partition("::")[0].rpartition("/")[0])
        for fixture, group in GROUPS.items():
            if fixture in asked and item.get_closest_marker("xdist_group") is None:
                item.add_marker(pytest.mark.xdist_group(group))


@pytest.fixture(scope="session")
def postgres() -> Iterator[str]:
    """The socket folder of a PostgreSQL server; its superuser is `postgres`, without a password."""
    with servers.running() as folder:
        yield folder


@pytest.fixture(params=["sqlite", "postgres"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """The URL of an empty database, once of each kind."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path / 'argosy.db'}"
    return servers.schema(request.getfixturevalue("postgres"))


@pytest.fixture
def database(url: str) -> Iterator[Database]:
    database = Database(url).create()
    yield database
    database.close()


@pytest.fixture(scope="session")
def weed_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The URL of a server of the S3 protocol with the bucket `data` and the keys `weed.KEYS`."""
    with weed.running(tmp_path_factory.mktemp("weed"), "data") as url:
        yield url


@pytest.fixture
def s3(weed_url: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """The address of a bucket in a real S3 server, which the environment names."""
    for name, value in (weed.KEYS | {"AWS_ENDPOINT_URL": weed_url}).items():
        monkeypatch.setenv(name, value)
    objects.store.cache_clear()
    yield "s3://data"
    objects.store.cache_clear()


@pytest.fixture(scope="session")
def cached_home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A home with the layers of an image in its cache, once one is built."""
    return tmp_path_factory.mktemp("home")


@pytest.fixture(scope="session")
def kubernetes(tmp_path_factory: pytest.TempPathFactory) -> Iterator[plane.Plane]:
    """A Kubernetes control plane, which `make kubernetes` builds."""
    with plane.running(tmp_path_factory.mktemp("kubernetes")) as found:
        yield found
