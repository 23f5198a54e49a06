from collections.abc import Iterator

import pytest

from argosy.batch import place
from tests import weed


@pytest.fixture(scope="session")
def weed_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with weed.running(tmp_path_factory.mktemp("weed"), "data") as url:
        yield url


@pytest.fixture
def s3(weed_url: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """The address of a bucket in a real S3 server, which the environment names."""
    for name, value in (weed.KEYS | {"AWS_ENDPOINT_URL": weed_url}).items():
        monkeypatch.setenv(name, value)
    place.files.cache_clear()
    yield "s3://data"
    place.files.cache_clear()
