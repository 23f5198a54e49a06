import json

import pytest
from click.testing import CliRunner

from argosy.cli.main import argosy
from argosy.cli.place import read_problem
from argosy.spec.errors import InvalidArgument
from argosy_simulators import placement

pytest.importorskip("highspy")

PLAN = """
models: {m: {profiles: [{gpu: L4, rates: 10, start: 3600}]}}
demand: [{model: m, area: a, rate: 1}, {model: m, area: a, bucket: long, rate: 1}]
rtt: {a: {r: 0.01}}
supply:
  - {provider: x, region: r, gpu: L4, price: 1.0, quota: 4}
  - {provider: y, region: r, gpu: L4, price: 3.0, quota: 9}
rules: {least_gain: 0}
"""


@pytest.fixture
def plan(tmp_path):
    path = tmp_path / "plan.yaml"
    path.write_text(PLAN)
    return path


def log(path, *rates):
    rows = "".join(f"{3600 * at},m,a,{rate}\n" for at, rate in enumerate(rates))
    path.with_name("log.csv").write_text(f"time,model,area,rate\n{rows}")
    return path.with_name("log.csv")


def test_what_ways_to_plan_pay_and_leave_unserved(plan):
    result = CliRunner().invoke(
        argosy, ["simulate", "placement", str(plan), "--trace", str(log(plan, 10, 30, 30, 10)), "--json"]
    )
    found = {each["policy"]: each for each in json.loads(result.stdout)["policies"]}
    assert found["static peak"]["cost"] == pytest.approx(3 * 3)
    assert found["static peak"]["unserved"] == found["static peak"]["changes"] == 0
    assert found["argosy"]["cost"] == pytest.approx(1 + 3 + 3)
    assert found["argosy"]["starts"] == pytest.approx(2)
    assert found["argosy"]["unserved"] == pytest.approx(20 / 70)
    assert found["greedy"]["cost"] == pytest.approx(1 + 3 + 3)


def test_the_greedy_way_leaves_a_place_that_is_full(plan):
    declared, problem = read_problem(plan)
    assert declared.rules.least_gain == 0
    asked = placement.asked(problem, (55.0, 0.0), {})
    assert placement.greedy(asked) == {("m", "", "x/r/L4"): 4, ("m", "", "y/r/L4"): 2}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("time,model,area,rate\n0,m,a,1\n", "two or more times"),
        ("time,model,area,rate\n0,m,a,nan\n", "line 2: time and rate must be finite"),
        ("time,model,area,rate\n0,m,a,-1\n", "line 2: time and rate must be finite"),
        ("time,model,area,rate\n0,m,b,1\n", "line 2: the plan has no demand for m b"),
        ("time,model,rate\n0,m,1\n", "line 2: needs time,model,area,rate"),
        ("time,model,area,rate\n0,m,a,1\n1,m,a,1\n3,m,a,1\n", "evenly spaced"),
    ],
    ids=["one", "nan", "negative", "unknown", "column", "uneven"],
)
def test_logs_that_are_refused(plan, text, message):
    _, problem = read_problem(plan)
    path = plan.with_name("log.csv")
    path.write_text(text)
    with pytest.raises(InvalidArgument, match=message):
        placement.read(path, problem)
