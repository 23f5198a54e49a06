"""Declarations of deployments to fleets."""

from typing import Any

import msgspec
import pytest

from argosy.edge import wire
from argosy.spec.errors import InvalidArgument
from argosy.spec.fleet import Deployment, DeviceBudget, DeviceTrial, Wave, labels, waves
from argosy.spec.strict import load_yaml


def test_a_deployment_in_yaml() -> None:
    text = "{fleet: cars, model: 'm:3', match: {site: a}, waves: [{match: {ring: test}}, {share: 0.1}, {}]}"
    found = load_yaml(text, Deployment, "the file")
    assert found.waves[0].match == {"ring": "test"}
    assert found.least(0) == (600.0, 20)
    assert [each.size(300) for each in found.waves] == [300, 30, 300]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{fleet: f, model: m, wave: []}", "unknown key 'wave'.*did you mean 'waves'"),
        ("{fleet: f, model: m, trial: {row: 3}}", "unknown key 'row'.*did you mean 'rows'"),
        ("{fleet: f, model: m, waves: []}", "has 0 waves"),
        ("{fleet: f, model: m, waves: [{share: 0.1}]}", "the last wave has to take in every device"),
        ("{fleet: f, model: m, waves: [{share: 0.2}, {share: 0.1}, {}]}", "must grow from wave to wave, not 0.2, 0.1"),
        ("{fleet: f, model: m, waves: [{share: 0.1, devices: 3}, {}]}", "give one of both"),
        ("{fleet: f, model: m, match: {site: 'a b'}}", "match: 'a b' is no label"),
        ("{fleet: f, model: m, match: {'a\"; drop': b}}", "is no label"),
        ("{fleet: f, model: ''}", "names no model"),
        ("{fleet: f, model: m, stop: {failures: 1}}", "failures must be below 1"),
        ("{fleet: f, model: m, trial: {mode: both}}", "trial.mode is 'shadow', 'live', not 'both'"),
    ],
)
def test_what_is_refused(text: str, message: str) -> None:
    with pytest.raises(InvalidArgument, match=message):
        load_yaml(text, Deployment, "the file")


@pytest.mark.parametrize(
    ("share", "devices", "size"), [(0.01, 10_000, 100), (0.01, 3, 1), (0.1, 30, 3), (1.0, 7, 7), (0.5, 0, 0)]
)
def test_a_share_is_one_device_at_least_and_no_more_than_it_says(share: float, devices: int, size: int) -> None:
    assert Wave(share=share).size(devices) == size


def test_waves_as_one_word() -> None:
    assert waves("1%, 5,100%") == (Wave(share=0.01), Wave(devices=5), Wave(share=1.0))


@pytest.mark.parametrize("text", ["", "0%", "101%", "1%,,2", "half", "-1", "1e9"])
def test_words_that_are_no_waves(text: str) -> None:
    with pytest.raises(InvalidArgument, match="is no wave"):
        waves(text)


def test_labels_as_words() -> None:
    assert labels(("site=a", "ring="), "--match") == {"site": "a", "ring": ""}
    for words in (("site",), ("=a",), ("a=1", "a=2"), ("a=\x1b[31m",), ("a" * 64 + "=b",)):
        with pytest.raises(InvalidArgument, match="--match"):
            labels(words, "--match")


@pytest.mark.parametrize(("declared", "told"), [(DeviceTrial, wire.Trial), (DeviceBudget, wire.Budget)])
def test_devices_are_told_what_is_declared(declared: Any, told: Any) -> None:
    assert msgspec.to_builtins(declared()) == msgspec.to_builtins(told())
