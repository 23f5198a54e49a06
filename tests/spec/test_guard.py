from typing import Any

import pytest

from argosy.spec.errors import InvalidArgument
from argosy.spec.guard import Guard, Metric
from argosy.spec.strict import convert


@pytest.mark.parametrize(
    ("data", "message"),
    [
        ({"alhpa": 0.01}, "did you mean 'alpha'"),
        ({"alpha": 0}, "alpha must be"),
        ({"margin": 1.5}, "margin must be"),
        ({"error_tolerance": 0.1}, "error_tolerance"),
        ({"latency_quantiles": [1.0]}, "latency_quantiles"),
        ({"latency_tolerance": 1.25}, "latency_tolerance must be below latency_margin"),
        ({"token_margin": 1.1, "latency_tolerance": 1.2}, "latency_tolerance must be below token_margin"),
        ({"first_token_margin": 1.0}, "first_token_margin must be at least"),
        ({"speed_margin": 1.1, "latency_tolerance": 1.2}, "latency_tolerance must be below speed_margin"),
        ({"refusals": [" I cannot"]}, "refusals must be"),
        ({"refusals": [""]}, "refusals must be"),
        ({"refusals": ["a\nb"]}, "refusals must be"),
        ({"refusals": ["a" * 101]}, "refusals must be"),
        ({"refusals": ["a"] * 33}, "refusals must be"),
        ({"thresholds": [{"metric": "memory", "above": 1}]}, "metric is 'error_rate', 'latency', 'cost', not 'memory'"),
        ({"thresholds": [{"metric": "latency", "above": -1}]}, "above must be at least 0"),
        ({"metrics": [{"name": "a", "query": "q", "low": 1}]}, "both low and high"),
        ({"metrics": [{"name": "a", "query": "q", "low": 1, "high": 1}]}, "both low and high"),
        ({"metrics": [{"name": "a", "query": "q", "worse": "up"}]}, "worse is 'higher', 'lower', not 'up'"),
        ({"metrics": [{"name": "a", "query": "q", "tolerance": -1}]}, "tolerance"),
        ({"metrics": [{"name": "a", "query": "$version"}] * 2}, "different names"),
        ({"metrics": [{"name": "a", "query": "q"}]}, "neither \\$revision nor \\$version"),
        ({"metrics": [{"name": "a", "query": "rate($revision[1m])", "every": 30}]}, "window of 60 s"),
        ({"metrics": [{"name": "a", "query": "$revision", "every": 0.5}]}, "at least 1 second"),
        ({"metrics": [{"name": "a", "query": "rate($revision[1m])"}]}, "comes only every 60 s"),
    ],
)
def test_nonsense_is_refused(data: dict[str, Any], message: str):
    with pytest.raises(InvalidArgument, match=message):
        convert(data, Guard, "guard")


@pytest.mark.parametrize(
    ("query", "pace"),
    [
        ("score{r='$revision'}", 15),
        ("rate(x{r='$revision'}[2m30s]) / rate(y{r='$revision'}[1m])", 150),
        ("max_over_time(x{r='$revision'}[5s])", 15),
        ("max_over_time(rate(x{r='$revision'}[1m])[1h:1m])", 3600),
        ("x{code=~'[45]..', r='$revision'}", 15),
    ],
)
def test_a_metric_comes_no_faster_than_its_window(query: str, pace: float):
    assert Metric(name="a", query=query).pace == pace
    assert Metric(name="a", query=query, every=7200).pace == 7200


def test_the_defaults_are_good():
    assert convert({}, Guard, "guard") == Guard()
