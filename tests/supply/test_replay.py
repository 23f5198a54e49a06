"""The cloud that is played: what it bills is what is written down, whatever it does."""

import random
from pathlib import Path

import pytest
from msgspec.structs import replace

from argosy.spec.errors import InvalidArgument
from argosy.spec.offer import Launch
from argosy.spec.provider import Faults, ReplayProvider
from argosy.spec.settings import Settings
from argosy.spec.supply import SupplySettings
from argosy.supply import providers
from argosy.supply.replay import Replay, Trace
from tests.supply.conftest import OFFER

DATA = Path(__file__).resolve().parents[3] / "shared" / "data"
ROUND = 10.0


def cost(launch: Launch) -> float:
    return 0.0 if launch.started is None else launch.price * (launch.ended - launch.started) / 3600


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(2))
def test_what_is_written_down_is_what_is_billed(scene, seed):
    """Random launches and ends at a cloud with every fault, and controllers that are killed."""
    chance = random.Random(seed)
    capacity = [chance.random() < 0.9 for _ in range(100)]
    faults = {"refused": 0.1, "lost": 0.2, "dropped": 0.1, "never": 0.1, "twice": 0.2, "stays": 0.3, "dear": 1.3}
    it = scene(
        **faults,
        notice=60.0,
        lag=chance.choice([0.0, 25.0]),
        traces={"r1a": Trace(seconds=195.0, capacity=capacity)},
        seed=seed,
    )
    for _ in range(200):
        live = it.launches.live()
        if chance.random() < 0.2 and len(live) < 5:
            it.launcher.request(replace(OFFER, market=chance.choice(["spot", "on_demand"])))
        elif chance.random() < 0.1 and live:
            it.launcher.release(chance.choice(live).id)
        if chance.random() < 0.05:
            it.restart()
        it.rounds(seconds=ROUND)
    for launch in it.launches.live():
        it.launcher.release(launch.id)
    it.rounds(60)
    assert it.running() == []
    assert it.launches.live() == []
    bill, rows = it.cloud.bill(), it.launches.between(0.0, it.now)
    assert len(bill) > 20
    assert {each.machine for each in bill} <= {each.machine for each in rows}
    missing = sum(map(cost, bill)) - sum(map(cost, rows))
    extra = sum("x" in each.id[-20:] for each in rows)
    assert abs(missing) <= extra * 2 * ROUND * OFFER.price * 1.3 / 3600
    assert abs(missing) < 0.01 * sum(map(cost, bill))


def test_equal_seeds_make_equal_histories(scene):
    def history(seed: int) -> list[tuple[str, float]]:
        it = scene(refused=0.5, twice=0.3, seed=seed)
        for number in range(20):
            it.launcher.request(OFFER, token=f"t{number}")
        it.rounds(10)
        return [(each.machine, each.started) for each in it.cloud.bill()]

    assert history(1) == history(1) != history(2)


def test_quotas_and_capacity_are_counted():
    now = [0.0]
    spot = replace(OFFER, market="spot")
    cloud = Replay(
        "cloud", [OFFER], clock=lambda: now[0], quotas={"r1": 3}, traces={"r1a": Trace(seconds=10.0, capacity=[1, 2])}
    )
    assert cloud.quota(spot) == 3
    cloud.launch(Launch(id="a", offer=spot, asked=0.0))
    assert cloud.quota(spot) == 2
    assert cloud.quota(replace(OFFER, region="r2")) is None
    now[0] = 10.0
    cloud.launch(Launch(id="b", offer=spot, asked=0.0))
    assert cloud.quota(spot) == 1


def test_traces():
    trace = Trace(seconds=10.0, capacity=[1, 0, 1, 0])
    assert [trace.at(each) for each in (-1.0, 0.0, 15.0, 99.0)] == [1, 1, 0, 0]
    assert [trace.down(each) for each in (0.0, 15.0, 20.0, 99.0)] == [10.0, 15.0, 30.0, 99.0]
    assert Trace(seconds=1.0, capacity=[1]).down(0.0) == float("inf")


@pytest.mark.skipif(not DATA.is_dir(), reason="needs ../shared/data: prices and traces of spot capacity")
def test_public_prices_and_traces_are_played():
    catalogue = DATA / "skypilot_catalog" / "gpu_prices_v8_extract.csv"
    kind = ReplayProvider(
        catalogue=str(catalogue), traces=str(DATA / "spot_traces" / "aws-02-15-2023"), faults=Faults()
    )
    (cloud,) = providers.of(Settings(supply=SupplySettings(providers={"cloud": kind}))).values()
    assert isinstance(cloud, Replay)
    assert len(cloud.offers()) > 200
    assert {each.market for each in cloud.offers()} == {"spot", "on_demand"}
    assert len(cloud._traces) == 9


@pytest.mark.parametrize(
    "text", ["", "{}", '{"metadata": {}, "data": [1]}', '{"metadata": {"gap_seconds": 1}, "data": [""]}']
)
def test_what_is_no_trace_is_refused(tmp_path, text):
    (tmp_path / "z_1.json").write_text(text)
    (tmp_path / "prices.csv").write_text(
        "InstanceType,AcceleratorName,AcceleratorCount,vCPUs,MemoryGiB,Price,SpotPrice,Region,AvailabilityZone\n"
    )
    kind = ReplayProvider(catalogue=str(tmp_path / "prices.csv"), traces=str(tmp_path))
    with pytest.raises(InvalidArgument):
        providers.of(Settings(supply=SupplySettings(providers={"cloud": kind})))


def test_a_catalogue_that_is_not_there_is_named(tmp_path):
    kind = ReplayProvider(catalogue=str(tmp_path / "none.csv"))
    with pytest.raises(InvalidArgument, match=r"supply\.providers\.cloud: .*none\.csv: No such file"):
        providers.of(Settings(supply=SupplySettings(providers={"cloud": kind})))
