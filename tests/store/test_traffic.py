"""The table of traffic: what is added up, what is kept for how long, on both databases."""

import msgspec
import sqlalchemy as sa
from hypothesis import given
from hypothesis import strategies as st

from argosy.store import traffic
from argosy.store.database import Database
from argosy.store.traffic import HOUR, MINUTE, RETENTION, Traffic

START = 1_767_225_600


def row(at: int = START, revision: str = "a", **more: int | dict[int, int]) -> Traffic:
    base = Traffic(endpoint="digits", revision=revision, version="digits:1", at=at, requests=10, latency={50: 10})
    return msgspec.structs.replace(base, **more)


def count(database: Database, width: int) -> int:
    with database.read() as connection:
        query = sa.select(sa.func.count()).select_from(traffic.traffic_table).where(traffic.T.width == width)
        return connection.execute(query).scalar_one()


def test_what_was_written_is_read_and_a_second_time_changes_nothing(database: Database):
    database.create()
    rows = [row(), row(START + MINUTE, errors=2), row(revision="b", replicas=3)]
    traffic.write(database, rows)
    traffic.write(database, [row(requests=99)])
    traffic.write(database, [])
    assert traffic.read(database, "digits", START, MINUTE) == [rows[0], rows[2], rows[1]]
    assert traffic.read(database, "digits", START + 1, MINUTE) == [rows[1]]
    assert traffic.read(database, "other", START, MINUTE) == []


def test_hours_are_the_sum_of_their_minutes_written_once_and_go_on_by_minutes(database: Database):
    database.create()
    minutes = [row(START + MINUTE * n, replicas=n % 3) for n in range(90)]
    traffic.write(database, minutes)
    for _ in range(2):
        traffic.roll(database, START + 90 * MINUTE)
    assert count(database, HOUR) == 1
    found = traffic.read(database, "digits", START, HOUR)
    assert found[0] == row(requests=600, latency={50: 600}, replicas=2)
    assert len(found) == 31
    assert sum(each.requests for each in found) == 900
    traffic.roll(database, START + 2 * HOUR)
    assert [each.requests for each in traffic.read(database, "digits", START, HOUR)] == [600, 300]


def test_minutes_are_forgotten_after_two_days_and_hours_after_thirty(database: Database):
    database.create()
    traffic.write(database, [row(), row(START + HOUR)])
    traffic.roll(database, START + RETENTION[MINUTE] + HOUR)
    assert (count(database, MINUTE), count(database, HOUR)) == (1, 2)
    traffic.roll(database, START + RETENTION[HOUR] + 1)
    assert (count(database, MINUTE), count(database, HOUR)) == (0, 1)


def test_steps_put_revisions_together_and_add_their_replicas():
    rows = [row(replicas=2), row(START + MINUTE, replicas=1), row(START + MINUTE, "b", replicas=4, latency={60: 1})]
    (step,) = traffic.steps(rows, 300)
    assert (step.at, step.requests, step.latency, step.replicas) == (START, 30, {50: 20, 60: 1}, 6)


@given(st.lists(st.tuples(st.integers(0, 400), st.sampled_from("ab"), st.integers(0, 50)), max_size=60))
def test_no_request_is_lost_or_counted_twice_by_steps(given_: list[tuple[int, str, int]]):
    rows = [row(START + MINUTE * n, revision, requests=many) for n, revision, many in given_]
    found = traffic.steps(rows, 600)
    assert sum(each.requests for each in found) == sum(each.requests for each in rows)
    assert [each.at for each in found] == sorted({each.at // 600 * 600 for each in rows})
