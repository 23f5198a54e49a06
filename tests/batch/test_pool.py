"""What workers print takes no more than so much of the disk, and its beginning and end can be read."""

import os
import re
import signal
import sys
import time

import pytest

from argosy.batch.pool import HEAD, MOST, TAIL, LocalPool, trim
from argosy.batch.sizes import Sizes
from argosy.batch.wire import Begin
from argosy.process.launch import Child
from argosy.spec.batch import BatchJob

LINE = re.compile(rb"\n\[\.\.\. ([0-9,]+) bytes are left out here \.\.\.\]\n")

CHATTY = """
import os, time
os.write(1, b"first words\\n")
for number in range(200):
    os.write(2, b"%07d of no interest\\n" % number * 2000)
while True:  # what is written as the log is cut may be lost
    os.write(1, b"last words\\n")
    time.sleep(1)
"""
"""More than twice what a log may have, some of it on each stream."""


BEGIN = Begin(0, BatchJob(model="m", inputs=("in",), output="/out"), Sizes(1, 1, 8), "/package", False)


def printing(code: str, logs) -> LocalPool:
    """A pool of one process that runs this."""
    return LocalPool(Child([sys.executable, "-c", code], dict(os.environ)), BEGIN, logs)


def told(log) -> int:
    """The bytes that the one line says are left out."""
    (found,) = LINE.findall(log.read_bytes())
    return int(found.replace(b",", b""))


def test_a_log_that_is_small_enough_stays_as_it_is(tmp_path):
    log = tmp_path / "a.log"
    log.write_bytes(b"x\n" * 50)
    assert not trim(log, most=100, head=10, tail=20)
    assert log.read_bytes() == b"x\n" * 50
    assert not trim(tmp_path / "none.log")
    assert not (tmp_path / "none.log").exists()


@pytest.mark.parametrize("length", [1, 7, 1000])
def test_beginning_and_end_are_kept_and_each_byte_between_is_counted(tmp_path, length):
    """However often it is cut while its writer goes on."""
    log, said = tmp_path / "a.log", b""
    with log.open("ab", buffering=0) as writer:
        for number in range(60):
            words = b"%d" % number * length + b"\n"
            writer.write(words)
            said += words
            trim(log, most=1000, head=100, tail=300)
            assert log.stat().st_size <= 1000
        writer.write(b"end\n")
        said += b"end\n"
    kept = log.read_bytes()
    if len(said) <= 1000:
        assert kept == said
        return
    middle = LINE.search(kept)
    assert middle is not None
    before, after = kept[: middle.start()], kept[middle.end() :]
    assert before == said[:100]
    assert said.endswith(after)
    assert after.endswith(b"end\n")
    assert told(log) == len(said) - len(before) - len(after)


def started(pool):
    """Start a worker; its process id, and its log."""
    before = set(pool.workers)
    pool.start()
    (worker,) = set(pool.workers) - before
    return pool._processes[worker].pid, pool._processes[worker].log


def gone(pool):
    """How the worker that has ended did."""
    (message,) = pool.receive(10)
    return message


def test_a_worker_that_prints_without_end_is_cut_short_while_it_works_and_after_kill_9(tmp_path):
    with printing(CHATTY, tmp_path) as pool:
        worker, log = started(pool)
        limit = time.monotonic() + 60
        while not log.read_bytes().endswith(b"last words\n") or log.stat().st_size > MOST:
            assert time.monotonic() < limit
            assert list(pool.receive(0.05)) == []
        assert log.read_bytes().startswith(b"first words\n")
        assert told(log) > MOST
        os.kill(worker, signal.SIGKILL)
        assert gone(pool).how == "was ended by SIGKILL; its last output: last words"


def test_what_a_worker_printed_before_it_was_killed_is_cut_short_although_nobody_looked(tmp_path):
    with printing(CHATTY.replace("time.sleep(1)", "os.kill(os.getpid(), 9)"), tmp_path) as pool:
        worker, log = started(pool)
        os.waitid(os.P_PID, worker, os.WEXITED | os.WNOWAIT)
        size = log.stat().st_size
        assert size > MOST
        assert gone(pool).killed
        kept = log.stat().st_size
        assert kept <= HEAD + TAIL + 200
        assert told(log) == size - kept + len(LINE.search(log.read_bytes())[0])
        again, _ = started(pool)
        os.waitid(os.P_PID, again, os.WEXITED | os.WNOWAIT)
        assert gone(pool).log == str(log)
    assert log.stat().st_size <= MOST
    assert told(log) > size - kept
