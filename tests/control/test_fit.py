"""Whether a declaration fits the machine."""

from typing import Any

import pytest

from argosy.control.fit import GIB, Machine, check_fits, machine
from argosy.spec.endpoint import Endpoint, Resources, Runtime
from argosy.spec.errors import InvalidArgument
from argosy.spec.scaling import Scaling

THERE = Machine(cores=4, memory=8 * GIB)


def endpoint(name: str = "digits", replicas: Any = 1, **resources: Any) -> Endpoint:
    return Endpoint(name=name, model="digits:1", replicas=replicas, resources=Resources(**resources))


def test_what_fits_passes():
    check_fits(endpoint(replicas=4, cpu=1, memory=2 * GIB), [], THERE)
    check_fits(endpoint(replicas=100), [endpoint("other", 4, cpu=1)], THERE)
    check_fits(endpoint(cpu=4), [endpoint(replicas=4, cpu=1)], THERE)


@pytest.mark.parametrize(
    ("asked", "words"),
    [
        (endpoint(replicas=3, cpu=1.5), "3 x 1.5 = 4.5 cores, and there are 4"),
        (endpoint(replicas=Scaling(max=5), cpu=1), "5 x 1 = 5 cores"),
        (endpoint(memory=9 * GIB), "1 x 9 = 9 GiB of memory, and there are 8"),
        (endpoint(gpu=1), "asks for 1 GPUs a replica; here are 0"),
    ],
)
def test_what_does_not_is_told_with_the_numbers(asked: Endpoint, words: str):
    with pytest.raises(InvalidArgument) as caught:
        check_fits(asked, [], THERE)
    assert words in caught.value.message


def test_what_others_have_declared_is_taken():
    with pytest.raises(InvalidArgument, match="of which other endpoints have declared 3"):
        check_fits(endpoint(cpu=2), [endpoint("other", 3, cpu=1)], THERE)


def test_threads_beyond_the_cores_are_refused():
    with pytest.raises(InvalidArgument, match=r"runtime\.threads is 4"):
        Endpoint(name="digits", model="digits:1", resources=Resources(cpu=1.5), runtime=Runtime(threads=4))


def test_this_machine_has_something():
    assert machine().cores >= 1
    assert machine().memory > 2**20
