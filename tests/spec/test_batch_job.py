"""What a batch job may say of its workers' silence."""

import pytest

from argosy.spec.batch import PATIENCE, BatchJob
from argosy.spec.errors import InvalidArgument

NEEDED = {"model": "m:1", "inputs": ("/data",), "output": "/out"}


@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"engine": "ray"},
        {"patience": 0.0, "checkpoint": 3600.0},
        {"patience": 2.0},
        {"patience": 1.0, "checkpoint": 0.0},
        {"patience": 1e9, "engine": "ray"},
    ],
)
def test_patience_that_a_worker_can_live_with(settings):
    assert BatchJob(**NEEDED, **settings).patience == settings.get("patience", PATIENCE)


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"patience": -1.0}, "patience must be at least 0, not -1"),
        ({"patience": float("nan")}, "patience must be finite, not nan"),
        ({"patience": float("inf")}, "patience must be finite, not inf"),
        ({"patience": 1.5}, r"at least 2 seconds: a worker reports every 1 s \(checkpoint\)"),
        ({"patience": 60.0, "checkpoint": 90.0}, "patience must be 0 .* at least 91 seconds"),
        ({"checkpoint": 1800.0}, "at least 1801 seconds"),
    ],
)
def test_patience_that_would_kill_who_works_is_refused(settings, said):
    with pytest.raises(InvalidArgument, match=said):
        BatchJob(**NEEDED, **settings)


@pytest.mark.parametrize("field", ["keep", "partition"])
def test_names_without_end_are_compared_once(field: str):
    """200,000 of them took the controller for minutes."""
    names = tuple(f"c{n}" for n in range(200_000))
    BatchJob(model="m:1", inputs=("/a",), output="/b", **{field: names})
    with pytest.raises(InvalidArgument, match="'c7' twice"):
        BatchJob(model="m:1", inputs=("/a",), output="/b", **{field: (*names, "c7")})
