"""`argosy demo --drift` as a user runs it: about three minutes."""

import importlib.util

import msgspec
import pytest

from argosy_examples.needs import PACKAGES
from tests.distributions.examples.test_stage import gone, start  # noqa: F401

pytestmark = [
    pytest.mark.skipif(
        any(importlib.util.find_spec(name) is None for name in (*PACKAGES, "duckdb")),
        reason="the extras 'demo' and 'monitoring' are not installed",
    ),
    pytest.mark.xdist_group("demo"),
    pytest.mark.slow,
]


@pytest.fixture
def tmp_path(tmp_path_factory):
    """Short, as sockets have to lie below it."""
    return tmp_path_factory.mktemp("d")


@pytest.mark.timeout(600)
def test_the_loop_closes(start, tmp_path):  # noqa: F811
    process = start("--drift", "--json")
    out, err = process.communicate(timeout=580)
    assert process.returncode == 0, f"{out}\n{err}"
    found = msgspec.json.decode(out)
    assert [one["name"] for one in found["links"]][-2:] == ["quality returns", "no request lost"]
    assert all(one["held"] for one in found["links"])
    assert [one["version"] for one in found["stretches"]] == ["1", "1", "2"]
    assert list(tmp_path.iterdir()) == []
    assert gone(tmp_path)
