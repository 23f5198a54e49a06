from collections.abc import Iterator

import pytest

from argosy.batch import place
from tests import weed


@pytest.fixture
def s3(weed_url: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """The address of a bucket in a real S3 server, which the environment names."""
    for name, value in (weed.KEYS | {"AWS_ENDPOINT_URL": weed_url}).items():
        monkeypatch.setenv(name, value)
    place.files.cache_clear()
    yield "s3://data"
    place.files.cache_clear()
