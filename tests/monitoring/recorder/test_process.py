"""The recorder as a process: killed, full, skewed, told anew. What it wrote is whole, what it lost young or counted."""

import contextlib
import os
import random
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import psutil
import pytest

from argosy.profiles import files
from argosy.serving import frames
from argosy.serving.config import ModelConfig, ReplicaConfig
from argosy.serving.frames import Hello, Orders
from argosy.spec.payload import PayloadLog
from argosy.spec.recorder import RecordedEndpoint, read_report
from argosy.spec.settings import Home
from argosy.store.payloads import layout, segment
from argosy.store.payloads.query import Query, read
from tests.monitoring.recorder import shop
from tests.monitoring.recorder.feeder import Feeder, joined, recorder, tell, until

QUICK = RecordedEndpoint(payload=PayloadLog(flush=0.2))


@pytest.fixture(scope="module")
def package(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("p") / "package"
    shop.write(folder)
    return folder


@pytest.fixture
def home(tmp_path_factory: pytest.TempPathFactory) -> Home:
    return Home(tmp_path_factory.mktemp("h")).create()


def records(home: Home) -> int:
    """How many requests it says it has written."""
    found = read_report(home)
    return found.records if found else 0


def arrived(home: Home, sent: list[str]) -> None:
    """Wait until the log has these requests and no others."""
    until(lambda: sorted(ids(home)) == sorted(sent))


def ids(home: Home) -> list[str]:
    """Every id of the log."""
    if not layout.endpoints(home.payloads):
        return []
    return [row["request_id"] for row in read(home.payloads, Query(endpoint="shop")).table.to_pylist()]


@pytest.mark.slow
def test_a_recorder_that_is_killed_breaks_no_file_and_repeats_nothing(home: Home, package: Path):
    tell(home, shop=QUICK)
    rng = random.Random(3)
    kept = 0
    for turn in range(3):
        with recorder(home) as process:
            feeder = Feeder(home, package)
            wanted = rng.randrange(1, 60)
            while (said := records(home)) < wanted:
                feeder.send(5, prefix=f"{turn}-")
                time.sleep(0.005)
            kept += said
            process.kill()
            process.wait()
    found = ids(home)
    assert len(found) == len(set(found))
    assert len(found) >= kept, "what it said it had written is there"
    for each in layout.segments(home.payloads, "shop"):
        assert segment.fault(home.payloads / each.key, deep=True) == ""


def test_a_recorder_that_is_killed_loses_what_is_young(home: Home, package: Path):
    tell(home, shop=RecordedEndpoint(payload=PayloadLog(flush=1)))
    with recorder(home) as process:
        feeder = Feeder(home, package)
        old = set(feeder.send(100))
        sent = set(old)

        def written() -> bool:
            """Whether what is old is in the log, while more comes all the time: age ends a segment, and not a pause."""
            sent.update(feeder.send(5))
            return old <= set(ids(home))

        until(written)
        process.kill()
        process.wait()
    assert old <= set(ids(home)) <= sent


def test_told_to_end_it_writes_all_it_has(home: Home, package: Path):
    tell(home, shop=RecordedEndpoint(payload=PayloadLog(flush=3600)))
    with recorder(home):
        feeder = Feeder(home, package)
        assert feeder.orders == Orders(sample=1.0, errors=True, profiles=True)
        sent = feeder.send(100)
        feeder.line.close()
        until(lambda: (found := read_report(home)) and not found.replicas)
    assert sorted(ids(home)) == sorted(sent)
    assert sum(one.rows for one in files.read(home.profiles, "shop", "1")) == 100


def test_late_rows_go_to_their_own_minute_and_hour(home: Home, package: Path):
    tell(home, shop=QUICK)
    now = datetime(2026, 3, 29, 1, 30, tzinfo=UTC).timestamp()
    with recorder(home):
        ahead, behind = Feeder(home, package, "ahead"), Feeder(home, package, "behind")
        ahead.send(3, now)
        behind.send(4, now - 3700)
        ahead.send(5, now + 61)
        until(lambda: (found := read_report(home)) and found.records == 12)
    hours = {each.hour.hour for each in layout.segments(home.payloads, "shop")}
    assert hours == {0, 1}
    counted = {one.start * 60 - now: one.rows for one in files.read(home.profiles, "shop", "1")}
    assert counted == {0: 3, -3720: 4, 60: 5}


def test_what_is_told_anew_holds_for_replicas_that_run(home: Home, package: Path):
    tell(home)
    with recorder(home):
        feeder = Feeder(home, package)
        assert feeder.orders.nothing
        feeder.send(5, prefix="before")
        tell(home, shop=RecordedEndpoint(payload=PayloadLog(flush=0.2, sample=0.5, errors=False), profiles=False))
        assert feeder.heard() == Orders(sample=0.5, errors=False, profiles=False)
        sent = feeder.send(5, weight=2)
        until(lambda: ids(home) == sent)
        tell(home, shop=RecordedEndpoint())
        assert feeder.heard() == Orders(profiles=True, errors=False)
        feeder.send(5, weight=0)
        until(lambda: (found := read_report(home)) and not found.problem)
    assert ids(home) == sent
    assert sum(one.rows for one in files.read(home.profiles, "shop", "1")) == 5


def test_two_versions_have_a_log_and_profiles_each(home: Home, package: Path):
    tell(home, shop=QUICK)
    with recorder(home):
        for version, count in (("1", 3), ("2", 4)):
            Feeder(home, package, f"r{version}", version).send(count)
        until(lambda: (found := read_report(home)) and found.records == 7)
    found = read(home.payloads, Query(endpoint="shop")).table.to_pylist()
    assert sorted((row["version"], row["replica"]) for row in found) == [("1", "r1")] * 3 + [("2", "r2")] * 4
    assert files.versions(home.profiles, "shop") == ["1", "2"]


def test_hostile_replicas_cost_their_own_connection(home: Home, package: Path):
    tell(home, shop=QUICK)
    with recorder(home):
        good = Feeder(home, package)
        bad = ReplicaConfig(replica="bad", models=(ModelConfig(name="shop", package=str(package)),))
        another = Hello(replica="bad", endpoint="shop", version="2", package=str(package))
        for noise in (
            frames.encode(another),
            b"GET / HTTP/1.1\r\n\r\n",
            os.urandom(200),
            b"AGR1" + b"\xff" * 8,
            b"AGR1\x03\0\0\0\0\0\0\0abc",
            b"AGR1\x63\0\0\0\0\0\0\0ab",
        ):
            with joined(home, bad) as line:
                line.sendall(noise)
        lost = Feeder(home, package)
        lost.line.sendall(b"AGR1\x03\0\0\0\0\0\0\0abc")
        lost.narrow()
        sent = lost.send(2, prefix="after")
        sent += good.send(3, prefix="good")
        until(lambda: sorted(ids(home)) == sorted(sent))
        until(lambda: (found := read_report(home)) and found.broken >= 7)


def test_a_column_to_hide_that_a_version_lacks_means_no_log_of_it(home: Home, package: Path):
    tell(home, shop=RecordedEndpoint(payload=PayloadLog(flush=0.2, redact=("salary",))))
    with recorder(home):
        assert Feeder(home, package).orders.nothing
        found = until(lambda: (found := read_report(home)) and found.problem and found)
        assert "'salary' is to be hidden" in found.problem
    assert ids(home) == []


@pytest.fixture
def small_disk(home: Home) -> Iterator[Path]:
    home.payloads.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=256k", "tmpfs", home.payloads], check=False)
    if mounted.returncode:
        pytest.skip("tmpfs cannot be mounted here: not root")
    yield home.payloads
    subprocess.run(["umount", "-l", home.payloads], check=True)


@pytest.mark.slow
def test_a_full_disk_costs_records_that_are_counted_and_ends_when_there_is_room(
    home: Home, small_disk: Path, package: Path
):
    tell(home, shop=QUICK)
    with recorder(home) as process:
        feeder = Feeder(home, package)
        filler = small_disk / "filler"
        with contextlib.suppress(OSError):
            filler.write_bytes(bytes(2**20))
        feeder.send(50)
        found = until(lambda: (found := read_report(home)) and found.dropped == 50 and found)
        assert "no space left" in found.problem
        filler.unlink()
        sent = feeder.send(5, prefix="later")
        until(lambda: ids(home) == sent)
        until(lambda: (found := read_report(home)) and not found.problem)
        assert process.poll() is None
    assert not list((small_disk / ".tmp").iterdir())


def test_segments_go_to_the_store_and_what_it_has_may_go(home: Home, package: Path, tmp_path: Path):
    tell(home, store=str(tmp_path / "bucket"), shop=QUICK)
    with recorder(home):
        feeder = Feeder(home, package)
        feeder.send(5)
        found = until(lambda: (found := read_report(home)) and found.shipped and found)
        assert found.waiting == 0
    (here,) = home.payloads.glob("*/*/hour=*/*.parquet")
    (there,) = (tmp_path / "bucket").glob("*/*/hour=*/*.parquet")
    assert here.read_bytes() == there.read_bytes()


@pytest.mark.slow
def test_hours_that_are_over_become_one_segment_each(home: Home, package: Path):
    kit = RecordedEndpoint(payload=PayloadLog(flush=0.2, keep_days=1000))
    tell(home, shop=kit)
    with recorder(home):
        feeder, sent, early = Feeder(home, package), list[str](), time.time() - 3 * 3600
        for number in range(3):
            sent += feeder.send(5, prefix=f"early{number}", at=early)
            arrived(home, sent)
    assert len(layout.segments(home.payloads)) > 1
    tell(home, shop=kit)
    with recorder(home):
        until(lambda: len(layout.segments(home.payloads)) == 1)
    arrived(home, sent)


def test_it_gives_way_to_requests(home: Home):
    tell(home)
    with recorder(home) as process:
        assert psutil.Process(process.pid).nice() >= 10
        process.send_signal(signal.SIGINT)
        process.wait(60)
    shutil.rmtree(home.root)
