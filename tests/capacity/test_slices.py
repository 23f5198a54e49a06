import pytest

from argosy.capacity.slices import arrange, cuts
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


def test_an_unknown_profile_is_refused():
    with pytest.raises(InvalidArgument, match=r"no '1g\.5gb' from H100; its profiles: 1g\.10gb"):
        arrange("H100", ["1g.5gb"])
    with pytest.raises(InvalidArgument, match="from T4; its profiles: none"):
        arrange("T4", ["1g.5gb"])
