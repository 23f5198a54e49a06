"""Clocks that jump: 1970, leaps, and starts that never had a session."""

import msgspec
import pytest

from argosy_edge.clock import STARTS, Clock, Known

NOON = 1_800_000_000.0
YEAR = 365 * 86400.0


class Machine:
    def __init__(self, wall=NOON):
        self.at, self.ahead = 0.0, wall

    def wall(self):
        return self.at + self.ahead

    def steady(self):
        return self.at + 77.0


def start(path, machine, boot):
    return Clock(path / "clock", boot, machine.wall, machine.steady)


def test_the_platforms_time_counts_and_is_carried_on_steadily(tmp_path):
    machine = Machine(wall=0.0)
    clock = start(tmp_path, machine, 1)
    assert not clock.known
    assert clock.now() == 0.0
    machine.at = 50
    clock.sync(NOON)
    machine.at, machine.ahead = 60, -YEAR
    assert clock.known
    assert clock.now() == NOON + 10
    assert clock.place(1, 20.0, 12345.0) == NOON - 30


@pytest.mark.parametrize("at", [0.0, NOON - YEAR, NOON + YEAR], ids=["1970", "before the last session", "the future"])
def test_what_cannot_be_placed_is_put_at_the_time_of_sending(tmp_path, at):
    machine = Machine()
    start(tmp_path, machine, 1).sync(NOON)
    clock = start(tmp_path, machine, 3)
    clock.sync(NOON + 500)
    assert clock.place(2, 5.0, at) == clock.now()


def test_the_devices_own_clock_is_believed_between_two_sessions(tmp_path):
    machine = Machine()
    start(tmp_path, machine, 1).sync(NOON)
    machine.at = 10_000
    clock = start(tmp_path, machine, 3)
    machine.at = 20_000
    assert clock.place(2, 5.0, NOON + 7000) == NOON + 7000
    clock.sync(NOON + 20_000)
    assert clock.place(1, 5.0, 0.0) == NOON + 5


def test_an_earlier_start_keeps_its_place_over_later_ones_and_what_is_kept_is_bounded(tmp_path):
    machine = Machine()
    for boot in range(1, 2 * STARTS):
        clock = start(tmp_path, machine, boot)
        machine.at += 100
        clock.sync(NOON + machine.at)
    assert clock.place(2 * STARTS - 5, 1.0, 0.0) == NOON + (2 * STARTS - 6) * 100 + 1
    assert len(msgspec.json.decode((tmp_path / "clock").read_bytes(), type=Known).began) == STARTS


def test_a_file_that_is_broken_is_as_none(tmp_path):
    (tmp_path / "clock").write_bytes(b"\xff\x00 broken")
    clock = start(tmp_path, Machine(), 1)
    clock.sync(NOON)
    assert start(tmp_path, Machine(), 2).place(1, 3.0, 0.0) == NOON + 3


def test_a_disk_that_cannot_be_written_costs_nothing_until_the_next_start(tmp_path):
    clock = Clock(tmp_path / "missing" / "clock", 1, Machine().wall, Machine().steady)
    clock.sync(NOON)
    assert clock.now() == NOON
