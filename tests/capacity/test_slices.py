import pytest

from argosy.capacity.slices import GIB, Neighbours, Pair, arrange, cuts, smallest
from argosy.spec.errors import InvalidArgument


def test_every_profile_fits_alone_where_it_may_begin():
    for gpu, cut in cuts().mig.items():
        for each in cut.profiles:
            assert arrange(gpu, [each.name]) is not None
            assert max(each.starts) + each.memory <= cut.slices[1]


@pytest.mark.parametrize(
    ("names", "fits"),
    [
        (["1g.10gb"] * 7, True),
        (["1g.10gb"] * 8, False),
        (["3g.40gb", "3g.40gb"], True),
        (["3g.40gb", "4g.40gb"], True),
        (["4g.40gb", "4g.40gb"], False),
        (["2g.20gb", "2g.20gb", "2g.20gb", "1g.10gb"], True),
        (["3g.40gb", "3g.40gb", "1g.10gb"], False),
        ([], True),
    ],
    ids=lambda value: "+".join(value) or "none" if isinstance(value, list) else str(value),
)
def test_slices_of_an_h100(names, fits):
    found = arrange("H100", names)
    assert (found is not None) == fits
    if found:
        sizes = {each.name: each.memory for each in cuts().mig["H100"].profiles}
        taken = [at for name, start in zip(names, found, strict=True) for at in range(start, start + sizes[name])]
        assert len(taken) == len(set(taken))


def test_the_smallest_slice_has_the_memory_and_the_compute():
    found = smallest("H100", 0.1, 15 * GIB)
    assert found is not None
    assert found.name == "1g.20gb"
    found = smallest("H100", 0.3, 0)
    assert found is not None
    assert found.name == "3g.40gb"
    assert smallest("H100", 0.1, 90 * GIB) is None
    assert smallest("T4", 0.1, 0) is None


def test_an_unknown_profile_is_refused():
    with pytest.raises(InvalidArgument, match=r"no '1g\.5gb' from H100; its profiles: 1g\.10gb"):
        arrange("H100", ["1g.5gb"])
    with pytest.raises(InvalidArgument, match="from T4; its profiles: none"):
        arrange("T4", [])


def test_models_share_a_gpu_only_where_both_ways_are_measured_and_bearable():
    pairs = [Pair(model="a", other="b", slower=1.2), Pair(model="b", other="a", slower=1.4)]
    assert Neighbours(pairs, {"a": 1.5, "b": 1.5})("a", "b")
    assert not Neighbours(pairs, {"a": 1.5, "b": 1.3})("a", "b")
    assert not Neighbours(pairs[:1], {"a": 1.5, "b": 1.5})("a", "b")
    assert not Neighbours(pairs, {"a": 1.5, "b": 1.5})("a", "c")
