import pytest

from argosy.spec.errors import InvalidArgument
from argosy_simulators.packing import Ask, Machine, Neighbours, Packing, Pair, Place

HALF, ONE = Ask(gpus=0.5), Ask(gpus=1.0)


def packing(*gpus: int, expected=(HALF, ONE), rule="fgd", **options):
    return Packing([Machine(gpus=count) for count in gpus], expected, rule=rule, **options)


@pytest.mark.parametrize("rule", ["best", "fgd"])
def test_a_fraction_joins_the_fraction_that_is_there(rule):
    packed = packing(2, 2, rule=rule)
    first = packed.put(HALF)
    assert packed.put(HALF) == first
    assert packed.unallocated == 0.75


def test_several_gpus_are_of_one_machine_and_what_fits_nowhere_is_refused():
    packed = packing(1, 1, 2)
    assert packed.put(Ask(gpus=2.0)) == Place(2, (0, 1))
    assert packed.put(Ask(gpus=2.0)) is None


def test_processors_and_memory_count():
    packed = Packing([Machine(gpus=2, cpus=4, memory=100)], [HALF], rule="fgd")
    assert packed.put(Ask(gpus=0.5, cpus=3, memory=10))
    assert packed.put(Ask(gpus=0.5, cpus=3)) is None
    assert packed.put(Ask(gpus=0.5, memory=91)) is None
    assert packed.put(Ask(gpus=0.5, cpus=1, memory=90))


def test_a_place_is_given_back():
    packed = packing(1)
    place = packed.put(HALF)
    assert place is not None
    packed.take(HALF, place)
    assert packed.unallocated == 1.0
    assert packed.put(Ask(gpus=1.0)) == Place(0, (0,))


def test_unknown_pairs_share_nothing():
    packed = packing(2, together=lambda one, other: {one, other} == {"a", "b"})
    assert packed.put(Ask(gpus=0.5, model="a")) == Place(0, (0,))
    assert packed.put(Ask(gpus=0.3, model="c")) == Place(0, (1,))
    assert packed.put(Ask(gpus=0.3, model="b")) == Place(0, (0,))
    assert packed.put(Ask(gpus=0.1, model="d")) is None


def test_prices_keep_a_remainder_for_what_fills_it():
    """0.7 and 0.3 fill a GPU, and so do three times 0.3 all but: a third 0.3 goes where 0.7 is."""
    pytest.importorskip("highspy")
    expected = [Ask(gpus=0.7), Ask(gpus=0.3)]
    packed = packing(1, 1, 1, 1, expected=expected, rule="argosy")
    large = [packed.put(Ask(gpus=0.7)) for _ in range(2)]
    small = [packed.put(Ask(gpus=0.3)) for _ in range(2)]
    assert {place.machine for place in large if place} == {place.machine for place in small if place}


@pytest.mark.parametrize("gpus", [0.0, -1.0, 1.5, 9.0, float("nan")], ids=str)
def test_what_no_machine_has_is_refused(gpus):
    with pytest.raises(InvalidArgument, match="a share of one GPU or 1 to 8"):
        Ask(gpus=gpus)


def test_models_share_a_gpu_only_where_both_ways_are_measured_and_bearable():
    pairs = [Pair(model="a", other="b", slower=1.2), Pair(model="b", other="a", slower=1.4)]
    assert Neighbours(pairs, {"a": 1.5, "b": 1.5})("a", "b")
    assert not Neighbours(pairs, {"a": 1.5, "b": 1.3})("a", "b")
    assert not Neighbours(pairs[:1], {"a": 1.5, "b": 1.5})("a", "b")
    assert not Neighbours(pairs, {"a": 1.5, "b": 1.5})("a", "c")
