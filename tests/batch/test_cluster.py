"""The pool of a Ray cluster and the driver's loop over it, with a script in the place of the process that is on Ray."""

import os
import sys

import pytest

from argosy.batch.cluster import RayPool, fitted, reach
from argosy.batch.driver import STARTS, Driver
from argosy.batch.ledger import Ledger
from argosy.batch.place import place
from argosy.batch.progress import silent
from argosy.batch.sizes import Sizes
from argosy.batch.wire import Begin
from argosy.packaging.package import open_package
from argosy.process.launch import Child
from argosy.spec.batch import BatchJob
from argosy.spec.errors import Internal, InvalidArgument, Unavailable
from tests.batch import kit

BRIDGE = """
import json, socket, sys
end = socket.socket(fileno=0)
lines = end.makefile("r")
def send(**message):
    end.sendall(json.dumps({"worker": 0} | message).encode() + b"\\n")
assert json.loads(next(lines))["type"] == "begin"
send(type="joined", sizes={"workers": 2, "threads": 1, "batch_size": 8})
for line in lines:
    order = json.loads(line)
    worker = order["worker"]
    if order["type"] == "stop":
        send(type="gone", worker=worker, how="ended")
        continue
"""
"""A process that says it has joined a cluster with room for two actors, which end when they are told to. What it does
with other orders comes after it."""

DIES_LOADING = """
    if order["type"] == "start":
        send(type="started", worker=worker)
        send(type="gone", worker=worker, how="died: no such file")
"""

DIES_ANSWERING = """
    if order["type"] == "start":
        send(type="started", worker=worker)
        send(worker=worker, type="ready", difference=0.0)
    elif order["type"] == "do":
        number = order["number"]
        send(worker=worker, type="reached", number=number, tally={"rows": 8})
        if number == 1:
            send(type="gone", worker=worker, how="died: its node is lost")
"""

HANGS = DIES_ANSWERING.replace("if number == 1:", "if False:")

FAILS = """
    if order["type"] == "start":
        send(type="started", worker=worker)
        send(worker=worker, type="failed", code="invalid_argument", message="row 3: x is below 0")
"""


BEGIN = Begin(0, BatchJob(model="m", inputs=("in",), output="/out"), Sizes(0, 1, 8), "/package", False)


def bridge(code: str) -> Child:
    return Child([sys.executable, "-c", BRIDGE + code], dict(os.environ))


@pytest.fixture
def work(tmp_path):
    """Run a job's driver over a pool whose bridge does this."""
    home = kit.home(tmp_path / "home")
    data = kit.write(tmp_path / "data", kit.table(range(100)), group=50)

    def run(code, **settings):
        plan = kit.planned(kit.package(home, "picky"), data, tmp_path / "out", fragment_rows=50, **settings)
        ledger = Ledger(place(plan.job.output))
        ledger.begin(plan)
        driver = Driver(plan, ledger, open_package(kit.package(home, "picky")))
        driver._pool = lambda: RayPool(bridge(code), driver._begin, tmp_path / "logs")
        return driver.run(silent())

    return run


def test_an_actor_after_actor_that_dies_at_a_row_ends_the_job_with_its_place(work, tmp_path):
    with pytest.raises(
        Internal, match=r"0\.parquet, row 58: actor after actor died .*; the last died: its node is lost"
    ):
        work(DIES_ANSWERING)


def test_actors_that_die_before_they_are_ready_end_the_job(work, tmp_path):
    said = rf"{STARTS} actors in a row died before .* the last died: no such file\. Look at .*/ray-0\.log"
    with pytest.raises(Internal, match=said):
        work(DIES_LOADING)


def test_actors_that_hang_are_killed_and_end_the_job(work):
    said = r"row \d+: actor after actor died .*; the last hung for \d+ s, .*raise --patience"
    with pytest.raises(Internal, match=said):
        work(HANGS, patience=1.0, checkpoint=0.0)


def test_what_an_actor_fails_with_ends_the_job_as_it_does_here(work):
    with pytest.raises(InvalidArgument, match="row 3: x is below 0"):
        work(FAILS)


@pytest.mark.parametrize(
    ("code", "error", "said"),
    [
        ("sys.exit(3)", Unavailable, r"works with Ray ended with status 3.*ray-0\.log; go on with --resume"),
        ("send(type='failed', code='unavailable', message='no cluster'); sys.exit(6)", Unavailable, "^no cluster$"),
        (
            "send(type='failed', code='internal', message='a bug'); sys.exit(1)",
            Internal,
            r"a bug\. Look at .*ray-0\.log",
        ),
    ],
)
def test_the_end_of_the_process_between_is_said(work, code, error, said):
    with pytest.raises(error, match=said):
        work(f"    {code}")


def test_an_actor_without_a_node_is_not_running_and_its_late_messages_are_not_of_a_worker(tmp_path):
    code = """
    if order["type"] == "start" and worker == 1:
        send(type="started", worker=1)
    if order["type"] == "kill":
        send(worker=1, type="ready", difference=0.0)
        send(type="gone", worker=1, how="died")
        send(type="started", worker=2)
"""
    with RayPool(bridge(code), BEGIN, tmp_path) as pool:
        while not pool.capacity:
            assert list(pool.receive(10)) == []
        pool.start()
        pool.start()
        while not pool.running:
            assert list(pool.receive(10)) == []
        assert (set(pool.workers), set(pool.running)) == ({1, 2}, {1})
        pool.kill(1)
        found = []
        while not pool.running:
            found += pool.receive(10)
        assert (set(pool.workers), set(pool.running)) == ({2}, {2})
        assert found == []


def test_as_many_actors_as_nodes_have_places():
    assert fitted(Sizes(0, 1, 64), 1, [1, 4, 0, 3.5]).workers == 8
    assert fitted(Sizes(0, 2, 64), 2, [1, 4, 0, 3.5]).workers == 3


@pytest.mark.parametrize(
    ("wanted", "said", "sizes"),
    [
        (Sizes(0, 1, 64), 0, Sizes(6, 1, 64)),
        (Sizes(0, 8, 64), 0, Sizes(1, 4, 64)),
        (Sizes(3, 2, 64), 2, Sizes(3, 2, 64)),
    ],
)
def test_sizes_are_those_of_the_cluster(wanted, said, sizes):
    assert fitted(wanted, said, [2, 4]) == sizes


def test_threads_that_no_node_has_are_refused():
    with pytest.raises(InvalidArgument, match="largest node of the cluster has 4 cores"):
        fitted(Sizes(0, 8, 64), 8, [2, 4])


@pytest.mark.parametrize("address", ["ray://127.0.0.1:10001", "head", "head:", ":6379"])
def test_an_address_is_a_host_and_a_port(address):
    with pytest.raises(InvalidArgument, match="host:port"):
        reach(address)


def test_an_address_where_nobody_listens_is_said():
    with pytest.raises(Unavailable, match=r"127\.0\.0\.1:1, the RAY_ADDRESS: Connection refused"):
        reach("127.0.0.1:1")
