"""What a user is told of places that wait."""

import pytest

from argosy.spec.endpoint import Resources
from argosy.spec.revision import Revision
from argosy.targets.ray.observe import pending, takes
from argosy.targets.ray.wire import Node, PlaceSpec, Report, Room

GIB = 1024.0**3


def report(phase: str, **resources: float) -> Report:
    revision = Revision(
        id="r", endpoint="e", model="m", version="1", digest="d", resources=Resources(**resources), target="ray"
    )
    spec = PlaceSpec(
        name="argosy/p/e-r-0/1",
        replica="e-r-0",
        short="1/r",
        slot=0,
        revision=revision,
        version="1",
        trusted=False,
        signed=False,
        ports=(1, 2),
        identity="spiffe://p/e",
    )
    return Report(spec=spec, phase=phase, host="10.0.0.7")


def room(*cpus: float, free: float) -> Room:
    return Room(nodes=tuple(Node(total={"CPU": each, "memory": 4 * GIB}) for each in cpus), free={"CPU": free})


@pytest.mark.parametrize(
    ("places", "found", "lost", "said"),
    [
        ([], None, "", ""),
        ([], None, "Ray's head is away", "Ray's head is away"),
        ([report("waiting")], None, "", "Ray looks for a node"),
        (
            [report("waiting", cpu=2)],
            room(4, 4, free=1.5),
            "",
            "no node of the Ray cluster has room: a replica takes 2 CPU, 1.5 CPU are free on all nodes together",
        ),
        (
            [report("waiting", cpu=8, gpu=1)],
            room(4, 2, free=6),
            "",
            "no node of the Ray cluster is large enough: a replica takes 8 CPU, 1 GPU, nodes have 4 CPU, 0 GPU",
        ),
        (
            [report("waiting", memory=6 * 1024**3)],
            room(4, free=4),
            "",
            (
                "no node of the Ray cluster is large enough: a replica takes 1 CPU, 6.0 GiB of memory, nodes have "
                "4 CPU, 4.0 GiB of memory"
            ),
        ),
        ([report("preparing")], None, "", "its package is fetched on the node 10.0.0.7"),
        ([report("preparing"), report("waiting")], None, "", "Ray looks for a node"),
    ],
)
def test_why_a_place_waits(places, found, lost, said):
    assert pending(places, found, lost) == said


def test_a_replica_that_declares_nothing_takes_one_core():
    assert takes(Resources()) == {"CPU": 1.0}
    assert takes(Resources(cpu=0.5, memory=1024, gpu=2)) == {"CPU": 0.5, "GPU": 2.0, "memory": 1024.0}
