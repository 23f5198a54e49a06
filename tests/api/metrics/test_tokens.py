"""Tokens on the page of metrics, under OpenTelemetry's names."""

import pytest

from argosy.api.metrics.gateway import tokens
from argosy.store.usage import Usage, bucket

ROW = Usage(
    key="",
    endpoint="gemma",
    version="1",
    hour=0,
    requests=3,
    aborted=1,
    input=30,
    cached=10,
    output=12,
    money=0.25,
    first=1150,
    firsts={bucket(50): 2, bucket(1050): 1},
    each=60,
    eaches={bucket(20): 3},
)


@pytest.fixture
def samples():
    return {
        (each.name, *sorted(each.labels.items())): each.value for family in tokens([ROW]) for each in family.samples
    }


def value(samples, name, **labels):
    return samples[(name, *sorted({"endpoint": "gemma", "version": "1", **labels}.items()))]


def test_tokens_by_type(samples):
    found = {
        kind: value(samples, "gen_ai_client_token_usage_total", gen_ai_token_type=kind)
        for kind in ("input", "cached", "output", "reasoning")
    }
    assert found == {"input": 30, "cached": 10, "output": 12, "reasoning": 0}
    assert value(samples, "argosy_language_answers_total") == 3
    assert value(samples, "argosy_language_aborted_total") == 1
    assert value(samples, "argosy_language_money_total") == 0.25


def test_times_are_histograms_in_seconds(samples):
    name = "gen_ai_server_time_to_first_token_seconds"
    counts = {le: value(samples, f"{name}_bucket", le=le) for le in ("0.04", "0.06", "1", "2.5", "+Inf")}
    assert counts == {"0.04": 0, "0.06": 2, "1": 2, "2.5": 3, "+Inf": 3}
    assert value(samples, f"{name}_sum") == pytest.approx(1.15)
    assert value(samples, f"{name}_count") == 3
    assert value(samples, "gen_ai_server_time_per_output_token_seconds_bucket", le="0.025") == 3
