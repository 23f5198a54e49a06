from typing import Any

import pytest

from argosy.spec.errors import InvalidArgument
from argosy.spec.guard import Guard
from argosy.spec.strict import convert


@pytest.mark.parametrize(
    ("data", "message"),
    [
        ({"alhpa": 0.01}, "did you mean 'alpha'"),
        ({"alpha": 0}, "alpha must be"),
        ({"margin": 1.5}, "margin must be"),
        ({"error_tolerance": 0.1}, "error_tolerance"),
        ({"latency_quantiles": [1.0]}, "latency_quantiles"),
        ({"thresholds": [{"metric": "memory", "above": 1}]}, "'error_rate' or 'latency'"),
        ({"thresholds": [{"metric": "latency", "above": -1}]}, "above must not be negative"),
        ({"metrics": [{"name": "a", "query": "q", "low": 1}]}, "both low and high"),
        ({"metrics": [{"name": "a", "query": "q", "low": 1, "high": 1}]}, "both low and high"),
        ({"metrics": [{"name": "a", "query": "q", "worse": "up"}]}, "'higher' or 'lower'"),
        ({"metrics": [{"name": "a", "query": "q", "tolerance": -1}]}, "tolerance"),
        ({"metrics": [{"name": "a", "query": "q"}] * 2}, "different names"),
    ],
)
def test_nonsense_is_refused(data: dict[str, Any], message: str):
    with pytest.raises(InvalidArgument, match=message):
        convert(data, Guard, "guard")


def test_the_defaults_are_good():
    assert convert({}, Guard, "guard") == Guard()
