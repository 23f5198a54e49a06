"""Certificates of a platform: which are due, by a clock; what is lost, killed or skewed."""

import os
import random
import shutil
import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from argosy.spec.errors import InvalidArgument
from argosy.store.authority import EARLIER, LEFT, LIFE, SETTLE, Authority, Shown, due, read
from argosy.store.database import Database

NOW = 2_000_000_000.0
FILE = Path("/f.pem")


def shown(age: float = 0.0, name: str = "n", authority: str = "a") -> Shown:
    return Shown(name=name, authority=authority, begins=NOW - age - EARLIER, ends=NOW - age + LIFE)


@pytest.mark.parametrize(
    ("found", "wanted"),
    [
        (None, True),
        (shown(), False),
        (shown(LIFE - LEFT - 1), False),
        (shown(LIFE - LEFT), True),
        (shown(LIFE), True),
        (shown(-EARLIER + 1), False),
        (shown(-EARLIER - 1), True),
        (shown(name="another"), True),
        (shown(authority="lost"), True),
    ],
    ids=["none", "fresh", "young", "past its time", "expired", "clock behind", "not good yet", "of another", "of none"],
)
def test_what_is_due(found: Shown | None, wanted: bool):
    assert due(NOW, {FILE: "n"}, {FILE: found}, "a", 0.0) == [FILE] * wanted


@given(st.floats(0, 30 * LIFE), st.floats(10, LEFT))
def test_whoever_looks_often_enough_never_shows_one_past_its_half(begin: float, every: float):
    now, found = NOW, shown()
    for _ in range(20):
        if due(now, {FILE: "n"}, {FILE: found}, "a", 0.0):
            found = Shown(name="n", authority="a", begins=now - EARLIER, ends=now + LIFE)
        assert now < found.ends - LIFE / 2
        now += min(every, LIFE / 2 - (LIFE - LEFT))


def test_a_new_authority_signs_what_runs_once_it_is_trusted():
    found = {FILE: shown(authority="before")}
    assert due(NOW, {FILE: "n"}, found, "a", NOW - SETTLE + 1) == []
    assert due(NOW, {FILE: "n"}, found, "a", NOW - SETTLE - 1) == [FILE]


class Clock:
    now = time.time()

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def authority(tmp_path: Path, clock: Clock) -> Authority:
    return Authority(tmp_path / "a", "p", clock)


def test_everybody_has_one_and_nobody_else_can_read_a_key(authority: Authority, tmp_path: Path, clock: Clock):
    mine = {tmp_path / "r0": authority.identity("e", "r", "0"), tmp_path / "r1": authority.identity("e", "r", "1")}
    assert authority.tend(mine) == 5
    assert authority.tend(mine) == 0
    for folder, identity in mine.items():
        found = read(folder / "replica.pem")
        assert found is not None
        assert found.name == identity.name
    for path in (tmp_path / "a" / "authority.key", tmp_path / "a", tmp_path / "r0"):
        assert not path.stat().st_mode & 0o077
    clock.now += LIFE - LEFT
    assert authority.tend(mine) == 5


def test_one_that_is_deleted_while_it_is_in_use_is_put_back(authority: Authority):
    authority.tend({})
    before = (authority.folder / "authority.key").read_bytes()
    (authority.folder / "authority.key").unlink()
    assert authority.tend({}) == 0
    assert (authority.folder / "authority.key").read_bytes() == before


def test_one_that_was_lost_before_the_start_is_followed_by_one_that_is_trusted_first(
    authority: Authority, clock: Clock, tmp_path: Path
):
    mine = {tmp_path / "r": authority.identity("e", "r", "0")}
    authority.tend(mine)
    (authority.folder / "authority.key").unlink()
    after = Authority(authority.folder, "p", clock)
    assert after.tend(mine) == 0
    for folder in (authority.folder, tmp_path / "r"):
        assert (folder / "authorities.pem").read_text().count("BEGIN CERTIFICATE") == 2
    clock.now += SETTLE + 1
    assert after.tend(mine) == 4


@pytest.mark.parametrize("left", [b"", b"-----BEGIN CERTIFICATE-----\nrubbish"], ids=["empty", "torn"])
def test_files_that_a_crash_of_the_machine_has_torn_are_made_anew(authority: Authority, left: bytes):
    authority.tend({})
    for name in ("gateway.pem", "authorities.pem"):
        (authority.folder / name).write_bytes(left)
    assert authority.tend({}) == 1
    assert (authority.folder / "authorities.pem").read_bytes() in (authority.folder / "authority.key").read_bytes()


def test_a_key_that_is_none_is_left_alone(authority: Authority):
    authority.tend({})
    (authority.folder / "authority.key").write_bytes(b"mine")
    with pytest.raises(InvalidArgument, match="put it back, or remove it"):
        Authority(authority.folder, "p").tend({})


TENDS = """
import sys, time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from argosy.store.authority import LIFE, Authority
begin = time.time()
clock = lambda: begin + (time.time() - begin) * 1e7
made = Authority(Path(sys.argv[1]), "p", clock)
while True:
    made.tend({})
    print("", flush=True)
"""


@pytest.mark.slow
def test_one_that_is_killed_in_the_middle_leaves_whole_files(tmp_path: Path):
    """The child's clock runs so fast that each of its turns renews."""
    folder, chance = tmp_path / "a", random.Random(7)
    for _ in range(5):
        with subprocess.Popen(
            [sys.executable, "-c", TENDS, str(folder)], stdout=subprocess.PIPE, env=dict(os.environ)
        ) as child:
            assert child.stdout is not None
            child.stdout.readline()
            time.sleep(chance.random() * 0.02)
            child.send_signal(signal.SIGKILL)
        for name in ("gateway", "controller", "activator"):
            text = (folder / f"{name}.pem").read_text()
            assert (text.count("END PRIVATE KEY"), text.count("END CERTIFICATE")) == (1, 1)
    assert Authority(folder, "p").tend({}) == 3


def test_targets_of_one_platform_have_one_authority(tmp_path: Path):
    each = [Authority(tmp_path / "platform", "p") for _ in range(8)]
    with ThreadPoolExecutor(len(each)) as pool:
        made = list(pool.map(lambda one: one.tend({}), each))
    assert sorted(made) == [0] * 7 + [3]
    assert [one.tend({}) for one in each] == [0] * 8
    assert (tmp_path / "platform" / "authorities.pem").read_bytes().count(b"BEGIN CERTIFICATE") == 1


def certificates(folder: Path) -> list[bytes]:
    return (folder / "authorities.pem").read_bytes().split(b"-----END CERTIFICATE-----\n")[:-1]


def test_homes_of_one_database_have_one_authority(tmp_path: Path, database: Database, clock: Clock):
    homes = [Authority(tmp_path / f"h{n}", "p", clock, database) for n in range(4)]
    with ThreadPoolExecutor(len(homes)) as pool:
        assert list(pool.map(lambda one: one.tend({}), homes)) == [3] * 4
    (key,) = {(one.folder / "authority.key").read_bytes() for one in homes}
    shutil.rmtree(homes[0].folder)
    assert Authority(homes[0].folder, "p", clock, database).tend({}) == 3
    assert (homes[0].folder / "authority.key").read_bytes() == key


def test_one_that_a_home_had_is_taken_over_and_another_one_is_trusted_for_a_while(
    tmp_path: Path, database: Database, clock: Clock
):
    one, two = (Authority(tmp_path / name, "p", clock) for name in ("one", "two"))
    for each in (one, two):
        each.tend({})
    clock.now += 1000
    shared = [Authority(each.folder, "p", clock, database) for each in (one, two)]
    assert [each.tend({}) for each in shared] == [0, 0]
    assert certificates(one.folder) == certificates(two.folder)[:1]
    assert len(certificates(two.folder)) == 2
    clock.now += SETTLE + 1
    assert [each.tend({}) for each in shared] == [0, 3]


def test_one_that_others_could_read_is_none_for_any_home(tmp_path: Path, database: Database):
    one = Authority(tmp_path / "one", "p", database=database)
    one.tend({})
    before = (one.folder / "authority.key").read_bytes()
    (one.folder / "authority.key").chmod(0o644)
    homes = [Authority(tmp_path / name, "p", database=database) for name in ("one", "two")]
    for each in homes:
        each.tend({})
    (after,) = {(each.folder / "authority.key").read_bytes() for each in homes}
    assert after != before


def test_what_is_no_authority_does_not_get_into_the_database(tmp_path: Path, database: Database):
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "authority.key").touch(0o600)
    (tmp_path / "a" / "authority.key").write_bytes(b"mine")
    with pytest.raises(InvalidArgument, match="put it back, or remove it"):
        Authority(tmp_path / "a", "p", database=database).tend({})
    assert Authority(tmp_path / "b", "p", database=database).tend({}) == 3
