"""`argosy place`, without a platform."""

import asyncio
import json
from types import SimpleNamespace

import msgspec
import pytest

from argosy.api import plans as api
from argosy.cli import place as cli
from argosy.spec import strict
from argosy.spec.endpoint import Endpoint
from argosy.store.database import Database
from argosy.store.plans import Plans
from argosy.store.regions import RegionStore

pytest.importorskip("highspy")

PLAN = """
models:
  chat:
    endpoint: talk
    profiles:
      - {gpu: L4, rates: {short: 3, long: 1}, latency: 0.2}
      - {gpu: A10G, rates: 4, latency: 0.1}
demand:
  - {model: chat, area: us, bucket: short, rate: 12, slo: 0.5}
  - {model: chat, area: eu, bucket: long, rate: 1, slo: 0.3, regions: [ireland]}
rtt: {us: {oregon: 0.02, ireland: 0.14}, eu: {oregon: 0.14, ireland: 0.02}}
supply:
  - {provider: aws, region: oregon, gpu: L4, price: 0.8, quota: 8}
  - {provider: aws, region: oregon, gpu: A10G, price: 2.0, quota: 8}
  - {provider: aws, region: ireland, gpu: L4, price: 1.0, quota: 4}
regions: {oregon: west, ireland: east}
"""


@pytest.fixture
def plan(tmp_path):
    path = tmp_path / "plan.yaml"
    path.write_text(PLAN)
    return path


def test_what_to_run_what_it_costs_and_why(run, plan):
    found = json.loads(run("place", str(plan), "--explain", "--json").stdout)
    assert {each["supply"]: each["replicas"] for each in found["placements"]} == {
        "aws/oregon/L4": 4,
        "aws/ireland/L4": 1,
    }
    assert found["cost"] == pytest.approx(4.2)
    assert found["bound"] == pytest.approx(4.2, rel=0.01)
    assert found["unserved"] == []
    told = run("place", str(plan), "--explain").stdout
    assert "4 x chat on aws/oregon/L4: " in told
    assert "$/day more" in told
    assert "no plan costs less than" in told
    assert "1 x chat on aws/ireland/L4: without it 1 requests a second of it would not be served" in told


@pytest.mark.parametrize(
    ("wrong", "right", "message"),
    [
        ("rate: 12", "rate: 70", "chat (short) from us, 70/s cannot be served: "),
        ("rate: 12", "rate: 70", "/s of it is more than the quotas allow"),
        ("slo: 0.3", "slo: 0.1", "ireland answers in 0.22 s"),
        ("rate: 12", "rate: .nan", "demand[0].rate must be at least 0"),
        ("rate: 12", "rate: -1", "demand[0].rate must be at least 0"),
        ("rate: 12", "rate: .inf", "rate must be finite"),
        ("rate: 12", "speed: 12", "unknown key 'speed' at $.demand[0]"),
        ("price: 2.0", "price: -2.0", "supply[1].price must be at least 0"),
        ("oregon: 0.02", "oregon: .inf", "must be finite"),
        ("area: us", "area: mars", "rtt has no area 'mars'"),
        ("model: chat, area: us", "model: cat, area: us", "there is no model 'cat'"),
        ("gpu: A10G, price", "gpu: L4, price", "supply: 'aws/oregon/L4' is there twice"),
        ("gpu: A10G, price", "gpu: Z9, price", "supply: no profile is for the GPU 'Z9' of aws/oregon/Z9"),
        ("latency: 0.2", "slice: 1g.5gb", "MIG cuts no '1g.5gb' from L4; its profiles: none"),
        ("latency: 0.2", "gpus: 2, slice: 1g", "slice 1g is of one GPU, gpus cannot be 2"),
        ("price: 2.0", "unit: rack, price: 2.0", "supply[1].unit is 'machine', 'gpu', not 'rack'"),
        ("region: oregon, gpu: A10G", "region: mars, gpu: A10G", "supply: rtt has no region 'mars'"),
        ("oregon: west", "oregon: We st", "regions: 'We st' is not valid"),
    ],
    ids=lambda value: value,
)
def test_plans_that_are_refused(run, plan, wrong, right, message):
    plan.write_text(PLAN.replace(wrong, right))
    answer = run("place", str(plan))
    assert message in answer.stderr
    assert answer.exit_code == 2


CUT = """
models:
  chat: {profiles: [{gpu: H100, slice: 4g.40gb, rates: 3}, {gpu: L4, rates: 1}]}
  rank: {profiles: [{gpu: H100, slice: 3g.40gb, rates: 3}, {gpu: L4, rates: 1}]}
  wide: {profiles: [{gpu: A100, gpus: 2, rates: 3}]}
demand:
  - {model: chat, area: us, rate: 3}
  - {model: rank, area: us, rate: 3}
  - {model: wide, area: us, rate: 3}
rtt: {us: {oregon: 0.02}}
supply:
  - {provider: own, region: oregon, gpu: H100, price: 2.5, quota: 2}
  - {provider: own, region: oregon, gpu: L4, price: 0.8, quota: 8}
  - {provider: own, region: oregon, gpu: A100, count: 8, price: 16, quota: 1}
"""


def test_gpus_that_are_cut_and_machines_that_are_paid_whole(run, plan):
    plan.write_text(CUT)
    found = json.loads(run("place", str(plan), "--json").stdout)
    assert found["cost"] == pytest.approx(18.5)
    assert [(each["supply"], each["count"], each["unused"]) for each in found["rented"]] == [
        ("own/oregon/H100", 1, pytest.approx(0.0)),
        ("own/oregon/A100x8", 1, pytest.approx(12.0)),
    ]
    told = run("place", str(plan)).stdout
    assert "own/oregon/H100: GPUs are cut: 1 into 1 x 3g.40gb + 1 x 4g.40gb" in told
    assert "own/oregon/A100x8: of 1 machine, 12.00 $/h is not used" in told
    plan.write_text(CUT.replace("count: 8", "count: 8, unit: gpu"))
    assert json.loads(run("place", str(plan), "--json").stdout)["cost"] == pytest.approx(6.5)


def test_demands_that_are_in_each_others_way_are_named(run, plan):
    both = PLAN.replace("slo: 0.3, regions", "slo: 3, regions").replace("rate: 1,", "rate: 3,")
    both = both.replace("rate: 12, slo: 0.5", "rate: 6, slo: 0.5, regions: [ireland]")
    plan.write_text(both)
    told = run("place", str(plan)).stderr
    assert "without any one of these the others could be: " in told
    assert "chat (short) from us, 6/s; chat (long) from eu, 3/s" in told


def test_offers_within_quotas(run, plan):
    prices = "provider,instance_type,gpu,gpu_count,vcpus,mem_gib,region,zone,ondemand_usd_per_hour,spot_usd_per_hour\n"
    rows = "lam,a,L4,1,4,16,oregon,a,0.7,\nlam,b,L4,1,4,16,oregon,b,0.6,0.2\naws,c,L4,1,4,16,ireland,a,0.9,\n"
    (plan.parent / "prices.csv").write_text(prices + rows)
    declared, _, rest = PLAN.partition("supply:\n")
    quotas = "quotas: [{region: oregon, market: on_demand, quota: 5}, {provider: a*, quota: 2}]\n"
    regions = rest.splitlines()[-1]
    plan.write_text(f"{declared}offers: prices.csv\n{quotas}{regions}\n")
    found = json.loads(run("place", str(plan), "--json").stdout)
    assert {each["supply"]: each["hourly"] for each in found["placements"]} == {
        "lam/oregon/L4": pytest.approx(2.4),
        "aws/ireland/L4": pytest.approx(0.9),
    }


def test_rates_that_the_platform_has_measured(run, plan, monkeypatch):
    class Client:
        def get(self, path, **query):
            assert (path, query) == ("/v1/endpoints/talk/traffic", {"since": 86400, "step": 300})
            return [{"requests": 600, "seconds": 300}, {"requests": 1200, "seconds": 100}]

    monkeypatch.setattr(cli, "control", Client)
    plan.write_text(PLAN.replace("rate: 12,", "share: 0.5,"))
    found = json.loads(run("place", str(plan), "--json").stdout)
    assert {each["supply"]: each["replicas"] for each in found["placements"]}["aws/oregon/L4"] == 2


class Platform:
    """A control API whose endpoint `talk` declares some regions."""

    def __init__(self, database: Database, *regions: str) -> None:
        self.plans, self.regions = Plans(database), RegionStore(database)
        self.services = SimpleNamespace(
            plans=SimpleNamespace(store=self.plans, problem=""),
            state=SimpleNamespace(
                endpoints=lambda: [SimpleNamespace(endpoint=Endpoint(name="talk", model="m:1", regions=regions))]
            ),
            regions=SimpleNamespace(load=lambda: None, wake=lambda: None),
            controller=SimpleNamespace(wake=lambda: None),
        )

    def call(self, handler, kind=None, **given):
        body = given.pop("body", None)
        if kind is not None:
            given["body" if body is not None else "query"] = strict.decode(msgspec.json.encode(body or {}), kind, "it")
        return msgspec.json.decode(msgspec.json.encode(asyncio.run(handler(self.services, **given))))

    def get(self, path):
        number = path.removeprefix("/v1/plans").removeprefix("/")
        return self.call(api.get, number=number) if number else self.call(api.every)

    def post(self, path, body):
        if path == "/v1/plans":
            return self.call(api.keep, api.NewPlan, body=body)
        return self.call(api.apply, api.Why, number=path.split("/")[3], body=body)

    def delete(self, path, **query):
        return self.call(api.end, api.Why)


@pytest.fixture
def platform(tmp_path, monkeypatch):
    database = Database(tmp_path / "db")
    found = Platform(database, "west", "east")
    monkeypatch.setattr(cli, "control", lambda: found)
    yield found
    database.close()


def test_regions_are_given_their_numbers_and_the_plan_is_kept(run, plan, platform, monkeypatch):
    assert "no plan is kept yet" in run("plans", "ls").stdout
    assert "no plan is current" in run("plans", "show").stderr
    monkeypatch.setattr(cli, "control", lambda: Platform(platform.plans.database, "west"))
    assert "does not declare region 'east'; nothing was changed" in run("place", str(plan), "--apply").stderr
    assert platform.regions.placements() == {}
    monkeypatch.setattr(cli, "control", lambda: platform)
    assert "region west: talk 4" in run("place", str(plan), "--apply", "-m", "a try").stdout
    assert platform.regions.placements() == {("talk", "west"): 4, ("talk", "east"): 1}
    told = run("plans", "show").stdout
    assert "plan 1, current, made 2" in told
    assert ": a try" in told
    assert "$/day more" in told
    assert "without it 1 requests a second of it would not be served" in told
    assert "region east: talk 1" in told


def test_a_plan_that_is_proposed_is_applied_later(run, plan, platform):
    run("place", str(plan), "--apply")
    plan.write_text(PLAN.replace("rate: 12", "rate: 20"))
    assert "plan 2 is kept: argosy plans apply 2" in run("place", str(plan), "--propose").stdout
    assert platform.regions.placements()["talk", "west"] == 4
    listed = run("plans", "ls").stdout.splitlines()
    assert [line.split()[3] for line in listed[1:]] == ["proposed", "current"]
    assert "region west: talk 7" in run("plans", "apply", "2").stdout
    assert platform.regions.placements()["talk", "west"] == 7
    assert "plan 2 is current: only one that is proposed can be applied" in run("plans", "apply", "2").stderr
    assert "plan 1 is past" in run("plans", "apply", "1").stderr
    assert "there is no plan 3" in run("plans", "apply", "3").stderr
    run("plans", "end")
    assert "no plan is current" in run("plans", "show").stderr
    assert platform.regions.placements()["talk", "west"] == 7


def test_offers_of_a_file_are_kept_with_its_plan(run, plan, platform):
    prices = "provider,instance_type,gpu,gpu_count,vcpus,mem_gib,region,zone,ondemand_usd_per_hour,spot_usd_per_hour\n"
    rows = "lam,a,L4,1,4,16,oregon,a,0.7,\naws,c,L4,1,4,16,ireland,a,0.9,\n"
    (plan.parent / "prices.csv").write_text(prices + rows)
    declared, _, rest = PLAN.partition("supply:\n")
    plan.write_text(f"{declared}offers: prices.csv\nquotas: [{{quota: 5}}]\n{rest.splitlines()[-1]}\n")
    assert run("place", str(plan), "--apply").exit_code == 0
    kept = platform.plans.declared(1)
    assert (kept.offers, {each.id for each in kept.supply}) == ("", {"lam/oregon/L4", "aws/ireland/L4"})
    assert platform.plans.get(1).plan.prices == {"lam/oregon/L4": 0.7, "aws/ireland/L4": 0.9}
