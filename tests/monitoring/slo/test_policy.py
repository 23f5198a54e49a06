import random

import msgspec
import pytest

from argosy.monitoring.slo import policy
from argosy.monitoring.slo.policy import SloObservation, SloState, Traffic, evaluate
from argosy.serving.counts import Counts, bucket
from argosy.spec.errors import InvalidArgument
from argosy.spec.slo import Slo

NINES = Slo()


class Service:
    """A service looked at every `tick` seconds."""

    def __init__(self, target: Slo = NINES, tick: float = 10.0) -> None:
        self.slo, self.tick, self.now, self.state, self.owed = target, tick, 1.8e9, SloState(), 0.0

    def run(self, seconds: float, per_minute: float, bad: float, seed: int = 1) -> float | None:
        """Seconds until a page, None if there is none in this time."""
        chance, began = random.Random(seed), self.now
        while self.now < began + seconds:
            self.now += self.tick
            self.owed += per_minute * self.tick / 60
            total = int(self.owed)
            self.owed -= total
            errors = sum(chance.random() < bad for _ in range(total)) if total < 1000 else round(total * bad)
            seen = SloObservation(now=self.now, seconds=self.tick, total=total, bad=errors)
            self.verdict, self.state = evaluate(self.slo, seen, self.state)
            if self.verdict.severity == "page":
                return self.now - began
        return None


def test_the_table_of_the_workbook():
    assert [(r.factor, r.long, r.short, r.severity) for r in policy.rules(NINES)] == [
        (pytest.approx(14.4), 3600, 300, "page"),
        (pytest.approx(6), 21600, 1800, "page"),
        (pytest.approx(3), 86400, 7200, "ticket"),
        (pytest.approx(1), 259200, 21600, "ticket"),
    ]


def test_a_busy_service_pages_on_its_budget_and_not_on_a_blip():
    service = Service()
    assert service.run(3600, 60_000, 0.0005) is None
    assert not policy.quiet(NINES, service.state.traffic, service.now)
    assert service.run(20, 60_000, 0.5) is None
    assert service.run(300, 60_000, 0.0005) is None
    assert service.run(600, 60_000, 0.5) <= 150
    assert "of requests were bad in the last" in service.verdict.reason
    for _ in range(200):
        service.run(10, 60_000, 0.0)
    assert service.verdict.severity == "ticket"


def test_a_slow_burn_is_a_ticket():
    service = Service(tick=60.0)
    assert service.run(2 * 86400, 60_000, 0.004) is None
    assert service.verdict.severity == "ticket"


def test_a_quiet_service_pages_on_an_outage_within_five_minutes_and_not_on_one_error():
    service = Service()
    assert service.run(3600, 4, 0.0) is None
    assert (
        evaluate(NINES, SloObservation(now=service.now + 15, seconds=10, total=1, bad=1), service.state)[0].severity
        == ""
    )
    assert service.run(300, 4, 0.5, seed=3) <= 300
    assert "of the last 2" in service.verdict.reason


def test_it_is_over_when_it_is_calm():
    service = Service()
    service.run(3600, 4, 0.0)
    service.run(600, 4, 1.0)
    assert service.run(60, 4, 0.0) is not None
    for _ in range(90):
        service.run(10, 4, 0.0)
    assert service.verdict.severity == ""


def test_what_was_found_while_it_was_quiet_is_over_once_it_is_busy_and_calm():
    service = Service()
    service.run(3600, 4, 0.0)
    service.run(600, 4, 1.0)
    assert service.run(60, 4, 0.0) is not None
    assert service.state.found
    for _ in range(90):
        service.run(10, 600_000, 0.0)
    assert not policy.quiet(NINES, service.state.traffic, service.now)
    assert service.verdict.severity == ""
    assert not service.state.found


def test_silence_neither_alarms_nor_ends_an_alarm():
    service = Service()
    assert service.run(3600, 0, 0.0) is None
    service.run(600, 4, 1.0)
    for _ in range(400):
        service.run(10, 0, 0.0)
    assert service.verdict.severity == "page"


def test_what_is_left_of_the_budget():
    state = SloState()
    verdict, state = evaluate(NINES, SloObservation(now=1e9, seconds=10, total=10_000, bad=5), state)
    assert verdict.budget == pytest.approx(0.5)
    verdict, state = evaluate(NINES, SloObservation(now=1e9 + 86400, seconds=10, total=10_000, bad=35), state)
    assert verdict.budget == pytest.approx(-1)
    assert evaluate(NINES, SloObservation(now=1e9 + 40 * 86400, seconds=10, total=10, bad=0), state)[0].budget == 1


def test_slow_answers_are_bad():
    counts = Counts(requests=100, errors=2, latency={bucket(0.05): 90, bucket(0.5): 8})
    assert policy.count(NINES, counts) == (100, 2)
    assert policy.count(Slo(latency=0.1), counts) == (100, 10)


def test_traffic_is_kept_coarser_with_age_and_loses_nothing():
    kept, now = Traffic(), 1.8e9
    for minute in range(5 * 1440):
        kept = policy.add_traffic(kept, now + 60 * minute, 2, minute % 2, 30 * 86400)
    now += 5 * 86400 - 60
    assert len(kept.slots) < 1000
    assert policy.recent(kept, now, 30 * 86400) == (2 * 7200, 3600)
    assert policy.recent(kept, now, 300)[0] == pytest.approx(10, abs=2)
    assert policy.recent(kept, now, 1800, 7)[0] == 8
    assert msgspec.json.decode(msgspec.json.encode(kept), type=Traffic) == kept


@pytest.mark.parametrize("wrong", [{"objective": 1.0}, {"objective": 0.2}, {"days": 0}, {"latency": -1}, {"name": ""}])
def test_objectives_that_cannot_be(wrong):
    with pytest.raises(InvalidArgument, match="slo"):
        Slo(**wrong)


@pytest.mark.parametrize("objective", [0.51, 0.9, 0.99999])
def test_every_objective_can_be_missed(objective):
    service = Service(Slo(objective=objective))
    service.run(3600, 4, 0.0)
    assert service.run(86400, 4, 1.0) is not None
