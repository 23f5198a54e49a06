"""One driver an output: by the kernel on a disk, by a lease in a bucket."""

import contextlib
import itertools
import os
import socket
import subprocess
import threading

import msgspec
import pytest

from argosy.batch.lock import Beat, Holder, here, lock
from argosy.batch.lock import lease as leased
from argosy.batch.place import place
from argosy.spec.errors import Conflict

ELSEWHERE = Holder("another-host", 1)


def never():
    raise AssertionError


def lease(output, lost=never, term=60.0):
    return leased(output, lost, renewed=0.05, term=term)


def write(output, number, beat):
    output.join(f"_argosy/lease/{number:08d}").put(msgspec.json.encode(beat))


@contextlib.contextmanager
def renewed(output, holder):
    """Somebody renews the first lease for as long as the block lasts."""
    over = threading.Event()

    def renew():
        for count in itertools.count(1):
            write(output, 1, Beat(holder, "t", count))
            if over.wait(0.05):
                return

    thread = threading.Thread(target=renew)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()


def test_the_second_of_two_is_refused_on_a_disk_until_the_first_has_ended(tmp_path):
    output = place(str(tmp_path / "out"))
    said = f"process {os.getpid()} on {socket.gethostname()}"
    with lock(output, never), pytest.raises(Conflict, match=said), lock(output, never):
        never()
    with lock(output, never):
        pass


def test_the_second_of_two_is_refused_in_a_bucket_until_the_first_has_ended(s3):
    output = place(f"{s3}/lease-two")
    with lease(output), pytest.raises(Conflict, match=f"process {os.getpid()} on"), lease(output):
        never()
    with lease(output):
        pass


def test_a_lease_of_a_process_that_is_gone_is_taken_at_once(s3):
    output = place(f"{s3}/lease-gone")
    with subprocess.Popen(["true"]) as gone:
        pass
    write(output, 1, Beat(Holder("any", gone.pid, here().machine), "t"))
    with leased(output, never, renewed=5.0, term=30.0):
        pass


def test_a_lease_that_another_machine_no_longer_renews_is_taken_after_its_term(s3):
    output = place(f"{s3}/lease-stale")
    write(output, 7, Beat(ELSEWHERE, "t", 4))
    with lease(output, term=0.6):
        names = sorted(file.name for file in output.walk())
    assert names == ["00000007", "00000008"]


def test_a_number_of_a_process_on_another_machine_of_the_same_name_means_nothing_here(s3):
    output = place(f"{s3}/lease-namesake")
    with subprocess.Popen(["true"]) as gone:
        pass
    namesake = Holder(socket.gethostname(), gone.pid, "another boot")
    write(output, 1, Beat(namesake, "t"))
    with renewed(output, namesake), pytest.raises(Conflict), lease(output):
        never()


def test_a_lease_that_another_machine_renews_is_not_taken(s3):
    output = place(f"{s3}/lease-alive")
    write(output, 1, Beat(ELSEWHERE, "t", 0))
    with renewed(output, ELSEWHERE), pytest.raises(Conflict, match="process 1 on another-host"), lease(output):
        never()


def test_who_lost_its_lease_is_told(s3):
    output, told = place(f"{s3}/lease-lost"), threading.Event()
    with lease(output, told.set):
        write(output, 2, Beat(ELSEWHERE, "t"))
        assert told.wait(60)
