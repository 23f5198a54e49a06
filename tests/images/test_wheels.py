from importlib.metadata import distribution

import pytest
from packaging.requirements import Requirement

from argosy.images import wheels


@pytest.mark.parametrize("name", [wheels.SERVE, wheels.GRPC])
def test_a_lock_has_what_is_asked_for_within_the_bounds_of_argosy(name):
    pins = dict(each.split("==") for each in wheels.pins(wheels.lock_text(name)))
    bounds = {each.name: each for each in map(Requirement, distribution("argosy").requires)}
    serve = wheels.lock_text(wheels.SERVE)
    assert not [each for each in wheels.REQUIREMENTS[name] if each not in pins and f"\n{each}==" not in serve]
    assert not [each for each, version in pins.items() if each in bounds and version not in bounds[each].specifier]


def test_locks_name_digests_and_no_index():
    for name in wheels.REQUIREMENTS:
        text = wheels.lock_text(name)
        assert "--hash=sha256:" in text
        assert "://" not in text
        assert "index" not in text
