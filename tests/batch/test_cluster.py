"""What the process beside a Ray cluster decides, without Ray."""

import pytest

from argosy.batch.answerer import Begun, Starting
from argosy.batch.cluster import STARTS, Watch, fitted, places, reach
from argosy.batch.scheduler import LIVES
from argosy.batch.sizes import Sizes
from argosy.batch.spool import Tally
from argosy.batch.wire import Reached, Ready
from argosy.spec.errors import Internal, InvalidArgument, Unavailable
from tests.batch import kit

ACTORS = 3


class Sent(list):
    def send(self, message):
        self.append(message)
        return True


@pytest.fixture
def watch(tmp_path):
    home = kit.home(tmp_path / "home")
    data = kit.write(tmp_path / "data", kit.table(range(100)), group=50)
    return Watch(kit.planned(kit.package(home, "picky"), data, tmp_path / "out", fragment_rows=50), Sent(), ACTORS)


def test_as_many_actors_as_nodes_have_places():
    assert places([1, 4, 0, 3.5], 1) == 8
    assert places([1, 4, 0, 3.5], 2) == 3


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


def test_a_fragment_that_is_begun_at_the_same_row_again_and_again_is_named(watch):
    for _ in range(LIVES):
        watch.note(Begun(1, Tally(rows=4)))
    watch.note(Begun(1, Tally(rows=8)))
    for _ in range(LIVES - 1):
        watch.note(Begun(1, Tally(rows=8)))
    assert watch._channel[0] == Reached(1, Tally(rows=4))
    with pytest.raises(Internal, match=r"0\.parquet, row 58: actor after actor died"):
        watch.note(Begun(1, Tally(rows=8)))


@pytest.mark.parametrize(
    ("patience", "said"), [(60.0, "the last hung for 70 s: raise --patience"), (0.0, r"on\. Take")]
)
def test_actors_that_hang_are_told_from_others(watch, patience, said):
    now = [0.0]
    watch._patience, watch._clock = patience, lambda: now[0]
    for _ in range(LIVES):
        watch.note(Begun(1, Tally(rows=8)))
        now[0] += 30
        watch.note(Reached(1, Tally(rows=8)))
        now[0] += 70
    with pytest.raises(Internal, match=said):
        watch.note(Begun(1, Tally(rows=8)))


def test_actors_that_die_sooner_did_not_hang(watch):
    now = [0.0]
    watch._clock = lambda: now[0]
    for _ in range(LIVES):
        watch.note(Begun(1, Tally(rows=8)))
        now[0] += 70
    with pytest.raises(Internal, match=r"at the rows from there on\. Take these"):
        watch.note(Begun(1, Tally(rows=8)))


def test_a_model_that_kills_who_loads_it_is_noticed(watch):
    for _ in range(ACTORS + STARTS):
        watch.note(Starting())
    watch.note(Ready(0.0))
    for _ in range(ACTORS + STARTS):
        watch.note(Starting())
    with pytest.raises(Internal, match="before they had loaded the model"):
        watch.note(Starting())


@pytest.mark.parametrize("address", ["ray://127.0.0.1:10001", "head", "head:", ":6379"])
def test_an_address_is_a_host_and_a_port(address):
    with pytest.raises(InvalidArgument, match="host:port"):
        reach(address)


def test_an_address_where_nobody_listens_is_said():
    with pytest.raises(Unavailable, match=r"127\.0\.0\.1:1, the RAY_ADDRESS: Connection refused"):
        reach("127.0.0.1:1")
