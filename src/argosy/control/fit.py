"""Whether this machine has what a declaration asks for."""

import contextlib
import functools
from collections.abc import Iterable
from pathlib import Path

import msgspec
import psutil

from argosy.process.cores import cores
from argosy.spec.endpoint import Endpoint
from argosy.spec.errors import InvalidArgument

MEMORY_MAX = Path("/sys/fs/cgroup/memory.max")
GIB = 1024**3


class Machine(msgspec.Struct, frozen=True, kw_only=True):
    """What there is: cores, bytes of memory, GPUs that replicas here can use."""

    cores: int
    memory: int
    gpus: int = 0


@functools.cache
def machine() -> Machine:
    """This machine, or what its control group leaves of it. No engine here uses a GPU yet, so that none is counted."""
    memory = psutil.virtual_memory().total
    with contextlib.suppress(OSError, ValueError):
        memory = min(memory, int(MEMORY_MAX.read_text()))
    return Machine(cores=cores(), memory=memory)


def check_fits(endpoint: Endpoint, others: Iterable[Endpoint], there: Machine) -> None:
    """Raises InvalidArgument, with the numbers, where all replicas of an endpoint together with what the other ones
    have declared are more than there is. The replicas that overlap during a rollout are not counted.
    """
    asked = endpoint.resources
    if asked.gpu > there.gpus:
        raise InvalidArgument(
            f"endpoint '{endpoint.name}' asks for {asked.gpu} GPUs a replica; here are {there.gpus} that it could use"
        )
    others = [each for each in others if each.name != endpoint.name]
    if asked.cpu:
        taken = sum(each.resources.cpu * most(each) for each in others)
        _check(endpoint, "cores", asked.cpu, taken, there.cores, 1)
    if asked.memory:
        taken = sum(each.resources.memory * most(each) for each in others)
        _check(endpoint, "GiB of memory", asked.memory, taken, there.memory, GIB)


def most(endpoint: Endpoint) -> int:
    """The most replicas it may have."""
    return endpoint.replicas if isinstance(endpoint.replicas, int) else endpoint.replicas.max


def _check(endpoint: Endpoint, what: str, each: float, taken: float, there: float, unit: int) -> None:
    count = most(endpoint)
    if each * count + taken <= there:
        return
    declared = f", of which other endpoints have declared {taken / unit:g}" if taken else ""
    raise InvalidArgument(
        f"endpoint '{endpoint.name}' does not fit: {count} x {each / unit:g} = {each * count / unit:g} {what}, "
        f"and there are {there / unit:g}{declared}"
    )
