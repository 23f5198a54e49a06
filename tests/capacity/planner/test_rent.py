import itertools
from collections import Counter
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from argosy.capacity.planner.problem import Demand, Problem, Profile, Rented, Supply
from argosy.capacity.planner.rent import cut, rent
from argosy.capacity.planner.solve import solve as search
from argosy.capacity.planner.whole import solve
from argosy.capacity.slices import arrange, cuts, ways
from argosy.spec.errors import InvalidArgument
from prove.plancheck import check

pytest.importorskip("highspy")

NAMES = tuple(each.name for each in cuts().mig["H100"].profiles)


def supply(name="a", *, gpu="H100", price=8.0, quota=4, count=1, **more):
    return Supply(id=name, provider=name, region="r", gpu=gpu, price=price, quota=quota, count=count, **more)


def profile(model, *, rate=10.0, gpu="H100", **more):
    return Profile(model=model, gpu=gpu, rates={"": rate}, **more)


def problem(supplies, profiles, rates, **more):
    demands = tuple(Demand(model=model, area="x", rate=rate, penalty=1.0) for model, rate in rates.items())
    return Problem(supplies=tuple(supplies), profiles=tuple(profiles), demands=demands, rtt={"x": {"r": 0.01}}, **more)


@pytest.mark.parametrize("way", [solve, lambda asked: search(asked, seconds=60)], ids=["whole", "search"])
def test_models_share_a_gpu_that_is_cut(way):
    """Four models of a seventh of a GPU each, beside one that is cheaper as a whole: one GPU, not four L4."""
    profiles = [profile(name, slice="1g.10gb") for name in "klmn"]
    profiles += [profile(name, gpu="L4") for name in "klmn"]
    asked = problem([supply(price=3.0), supply("b", gpu="L4", price=0.9)], profiles, dict.fromkeys("klmn", 9.0))
    plan = way(asked)
    assert check(asked, plan) == []
    assert plan.rented["a"].count == 1
    assert plan.cost == pytest.approx(3.0)


def test_slices_of_several_sizes_are_of_one_gpu():
    asked = problem(
        [supply()], [profile("big", slice="4g.40gb"), profile("small", slice="3g.40gb")], {"big": 9, "small": 9}
    )
    plan = solve(asked)
    assert check(asked, plan) == []
    assert plan.rented == {"a": Rented(count=1, hourly=8.0, unused=0.0, cuts=((("3g.40gb", "4g.40gb"), 1),))}


def test_a_machine_is_paid_for_all_its_gpus():
    """Two machines, of which one has room for both models, cost less than the cheapest replica of each."""
    asked = problem(
        [supply("a", price=4.0, count=4), supply("b", gpu="L4", price=3.9, count=4)],
        [profile("m"), profile("n", gpu="H100"), profile("n", gpu="L4", rate=11.0)],
        {"m": 20.0, "n": 20.0},
    )
    for plan in (solve(asked), search(asked, seconds=60)):
        assert check(asked, plan) == []
        assert plan.cost == pytest.approx(4.0)
        assert plan.rented == {"a": Rented(count=1, hourly=4.0, unused=0.0)}
        assert plan.bound <= 4.0


def test_replicas_of_three_gpus_take_four_of_eight():
    rented = rent(problem([supply(count=8)], [profile("m", gpus=3), profile("n")], {"m": 1, "n": 1}), {
        ("m", "", "a"): 2, ("n", "", "a"): 1,
    })  # fmt: skip
    assert rented["a"] == Rented(count=2, hourly=16.0, unused=7.0)


@given(st.dictionaries(st.sampled_from(NAMES), st.integers(1, 9), min_size=1, max_size=3))
def test_gpus_are_cut_for_all_slices_and_no_more_than_one_by_one(slices):
    found = cut("H100", slices)
    there = Counter[str]()
    for names, count in found:
        assert arrange("H100", names) is not None
        there.update({name: count * names.count(name) for name in set(names)})
    assert not Counter(slices) - there
    used = sum(count for _, count in found)
    assert used <= sum(-(-count // max(map(max, ways("H100", (name,))))) for name, count in slices.items())
    compute = {each.name: each.compute for each in cuts().mig["H100"].profiles}
    assert used * 7 >= sum(count * compute[name] for name, count in slices.items())


def test_a_way_to_cut_has_no_room_left():
    names = ("1g.10gb", "2g.20gb", "3g.40gb")
    found = ways("H100", names)
    assert (7, 0, 0) in found
    assert (0, 0, 2) in found
    for way, name in itertools.product(found, names):
        there = [each for each, count in zip(names, way, strict=True) for _ in range(count)]
        assert arrange("H100", there) is not None
        assert arrange("H100", [*there, name]) is None


@pytest.mark.parametrize("seed", range(6))
def test_whole_and_search_agree_on_cut_gpus_and_machines(seed):
    random = Random(seed)
    supplies = [
        supply("a", price=random.uniform(2, 4), quota=random.randint(1, 4)),
        supply("b", price=random.uniform(16, 30), count=8, quota=2, unit=random.choice(["machine", "gpu"])),
        supply("c", gpu="L4", price=random.uniform(0.6, 1.2), quota=8),
    ]
    profiles, rates = list[Profile](), dict[str, float]()
    for model in "klmno":
        rates[model] = random.uniform(3, 40)
        size = random.choice(["", "1g.10gb", "2g.20gb", "3g.40gb"])
        profiles += [profile(model, slice=size), profile(model, gpu="L4", rate=random.uniform(2, 6))]
    asked = problem(supplies, profiles, rates)
    exact, found = solve(asked), search(asked, seconds=60)
    assert check(asked, exact) == []
    assert check(asked, found) == []
    assert exact.bound <= exact.cost
    assert exact.cost <= found.cost * 1.001 + 1e-6
    assert found.cost <= exact.cost * 1.25


def test_a_slice_that_mig_has_not_is_refused():
    with pytest.raises(InvalidArgument, match=r"MIG cuts no '9g\.1gb' from H100; its profiles: 1g\.10gb"):
        problem([supply()], [profile("m", slice="9g.1gb")], {})
    with pytest.raises(InvalidArgument, match="MIG cuts no '1g' from L4; its profiles: none"):
        problem([supply()], [profile("m", gpu="L4", slice="1g")], {})
    with pytest.raises(InvalidArgument, match="1 or more GPUs, or a slice of one"):
        problem([supply()], [profile("m", slice="1g.10gb", gpus=2)], {})
