"""Whose confirmation is waited for: rules by example, and a simulation in which messages are slow, lost and late."""

import random

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from argosy.control.leases import LEASE, Heard, Leases
from argosy.spec.errors import Conflict


def heard(leases: Leases, name: str, at: float, applied: int = 0, run: str = "r") -> Leases:
    return leases.heard(name, Heard(run, at, applied))


def test_nothing_is_released_before_all_that_count_have_confirmed():
    leases = heard(heard(Leases(began=0.0), "a", 7.0, 3), "b", 7.0, 2)
    assert not leases.settled(3, 7.0)
    assert [*leases.behind(3, 7.0)] == ["b"]
    assert heard(leases, "b", 7.5, 3).settled(3, 7.5)


def test_a_gateway_that_cannot_be_heard_is_waited_for_until_its_lease_is_over():
    leases = heard(heard(Leases(began=0.0), "a", 10.0, 3), "b", 7.0, 2)
    assert not leases.settled(3, 7.0 + LEASE - 0.1)
    assert leases.settled(3, 7.0 + LEASE)
    assert not heard(leases, "b", 20.0, 2).settled(3, 20.0)


def test_a_controller_that_has_just_begun_does_not_know_who_followed_before():
    assert not Leases(began=5.0).settled(1, 5.0 + LEASE - 0.1)
    assert Leases(began=5.0).settled(1, 5.0 + LEASE)


def test_a_report_that_comes_late_takes_nothing_back():
    leases = heard(heard(Leases(began=0.0), "a", 7.0, 3), "a", 7.1, 2)
    assert leases.gateways["a"].applied == 3


def test_a_gateway_that_starts_again_has_confirmed_nothing_and_the_run_before_is_refused():
    leases = heard(heard(Leases(began=0.0), "a", 7.0, 3), "a", 7.1, run="s")
    assert leases.gateways["a"] == Heard("s", 7.1, 0)
    with pytest.raises(Conflict, match="another gateway is called 'a'"):
        heard(leases, "a", 7.2, 3)


def test_one_that_has_ended_is_not_waited_for():
    leases = heard(Leases(began=0.0), "a", 7.0, 2)
    assert leases.without("a", "r").settled(3, 7.0)
    assert leases.without("a", "another") == leases


class Gateway:
    """A gateway as it is, by true time: `asked` is when it sent the last report that was answered."""

    def __init__(self, name: str) -> None:
        self.name, self.run, self.count = name, f"{name}0", 0
        self.applied, self.asked = 0, -1e9

    def follows(self, now: float) -> bool:
        """Whether it counts on being waited for."""
        return now - self.asked < LEASE


class World:
    """Controllers, one after the other, and gateways between which messages take any time or are lost. What is
    released at `now` must be needed by no gateway that counts on being waited for."""

    def __init__(self, seed: int) -> None:
        self.random = random.Random(seed)
        self.now = 0.0
        self.version = 1
        self.leases = Leases(began=0.0)
        self.gateways = [Gateway(name) for name in "abc"]
        self.cut: set[str] = set()
        self.flying: list[tuple[float, str, Gateway, object]] = []
        self.released = 0

    def step(self) -> None:
        self.now += self.random.choice((0.01, 0.1, 0.5))
        kind = self.random.random()
        if kind < 0.05:
            self.version += 1
        elif kind < 0.07:
            self.leases = Leases(began=self.now)  # another controller, which knows nobody; numbers go on
        elif kind < 0.10:
            self.cut ^= {self.random.choice("abc")}
        elif kind < 0.12:
            gateway = self.random.choice(self.gateways)  # killed and started again: Envoy goes on as it is
            gateway.count += 1
            gateway.run = f"{gateway.name}{gateway.count}"
        for gateway in self.gateways:
            if self.random.random() < 0.5:
                message = (gateway.run, gateway.applied, self.now)
                self._send("report", gateway, message)
        due = [each for each in self.flying if each[0] <= self.now]
        self.flying = [each for each in self.flying if each[0] > self.now]
        self.random.shuffle(due)
        for _, kind, gateway, message in due:
            if gateway.name not in self.cut:
                self._arrive(kind, gateway, message)
        if self.leases.settled(self.version, self.now):
            self._release()

    def _send(self, kind: str, gateway: Gateway, message: object) -> None:
        if gateway.name not in self.cut:
            self.flying.append((self.now + self.random.choice((0.0, 0.05, 0.4, 3.0)), kind, gateway, message))

    def _arrive(self, kind: str, gateway: Gateway, message: object) -> None:
        if kind == "report":
            run, applied, sent = message  # type: ignore
            try:
                self.leases = self.leases.heard(gateway.name, Heard(run, self.now, applied))
            except Conflict:
                return
            self._send("answer", gateway, (run, self.version, sent))
        else:
            run, version, sent = message  # type: ignore
            if run == gateway.run:
                gateway.asked = max(gateway.asked, sent)
                gateway.applied = max(gateway.applied, version)

    def _release(self) -> None:
        self.released += 1
        late = [each.name for each in self.gateways if each.follows(self.now) and each.applied < self.version]
        assert late == [], (self.now, self.version, msgspec.to_builtins(self.leases))


@given(st.integers(0, 2**32 - 1))
def test_nothing_is_released_that_a_gateway_which_is_waited_for_may_still_send_to(seed: int):
    world = World(seed)
    for _ in range(300):
        world.step()


def test_the_simulation_releases_and_waits():
    world = World(1)
    for _ in range(2000):
        world.step()
    assert 0 < world.released < 2000
