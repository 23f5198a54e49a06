"""Jobs on a Ray cluster of three nodes: the same output as here, whatever is lost."""

import json
import os
import signal
import time

import numpy as np
import pyarrow.parquet as pq
import pytest

from argosy.batch.ledger import Ledger
from argosy.batch.place import place
from argosy.batch.stage import Stage
from argosy.packaging.options import PushOptions
from argosy.packaging.push import push
from argosy.spec.settings import Home, Settings
from argosy.store import open_store
from tests import wheels
from tests.batch import kit, nodes
from tests.batch.test_driver import ended, gone, workers

pytestmark = pytest.mark.xdist_group("ray")

ROWS = 400
LONG = 200


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    return kit.home(tmp_path_factory.mktemp("home"))


@pytest.fixture(autouse=True)
def at_home(home, monkeypatch):
    monkeypatch.setenv("ARGOSY_HOME", str(home.root))


@pytest.fixture(scope="module")
def cluster(tmp_path_factory):
    """A head without cores, and two nodes with one each."""
    with nodes.running(0, 1, 1, log=tmp_path_factory.mktemp("ray") / "log") as found:
        yield found


@pytest.fixture
def data(tmp_path):
    return kit.write(tmp_path / "data", kit.table(range(200)), kit.table(range(200, ROWS)))


def job(data, output, *more, **environment):
    """A job of eight fragments and small steps."""
    fixed = ("--input", data, "--output", output, "--keep", "id", "--checkpoint", 0)
    return kit.start("picky:1", *fixed, "--batch-size", 4, "--fragment-rows", 50, *more, **environment)


def on_ray(cluster, data, output, *more):
    return job(data, output, "--engine", "ray", *more, RAY_ADDRESS=cluster.address, SLOW="0.1")


def sealed(output):
    seal = Ledger(place(str(output))).sealed()
    assert seal is not None
    return seal.digest


def done(output):
    """The fragments that have their entry."""
    return {entry.fragment for entry in kit.entries(output)}


def until(condition, timeout=90.0):
    limit = time.monotonic() + timeout
    while not condition():
        assert time.monotonic() < limit
        time.sleep(0.02)


def finished_here(output):
    """Whether the rest of a job that Ray has begun, done by the local engine, gives all rows in their order."""
    status, _, err = ended(kit.start("--output", output, "--resume", "--engine", "local"))
    assert status == 0, err
    return kit.ids(output) == list(range(ROWS))


@pytest.mark.slow
def test_a_killed_driver_takes_its_actors_along_and_either_engine_goes_on(cluster, data, tmp_path):
    process = on_ray(cluster, data, tmp_path / "out")
    until(lambda: kit.entries(tmp_path / "out"))
    members = workers(process)
    process.kill()
    process.communicate()
    assert gone(members, 30)
    process = kit.start("--output", tmp_path / "out", "--resume", "--engine", "local")
    until(lambda: len(kit.entries(tmp_path / "out")) > 3)
    process.kill()
    process.communicate()
    process = kit.start("--output", tmp_path / "out", "--resume", "--engine", "ray", RAY_ADDRESS=cluster.address)
    status, _, err = ended(process, LONG)
    assert status == 0, err
    assert kit.ids(tmp_path / "out") == list(range(ROWS))


@pytest.mark.slow
def test_the_end_of_the_process_beside_ray_is_said(cluster, data, tmp_path):
    process = on_ray(cluster, data, tmp_path / "out")
    until(lambda: kit.entries(tmp_path / "out"))
    (beside,) = workers(process)
    beside.kill()
    status, _, err = ended(process, LONG)
    assert status == 6
    assert "was ended by SIGKILL" in err
    assert finished_here(tmp_path / "out")


@pytest.mark.slow
def test_a_signal_ends_it_and_says_how_to_go_on(cluster, data, tmp_path):
    process = on_ray(cluster, data, tmp_path / "out")
    until(lambda: kit.entries(tmp_path / "out"))
    members = workers(process)
    process.send_signal(signal.SIGINT)
    status, _, err = ended(process, LONG)
    assert status == 130
    assert f"argosy batch run --output {tmp_path / 'out'} --resume" in err
    assert gone(members)
    assert finished_here(tmp_path / "out")


@pytest.mark.slow
def test_a_row_that_is_refused_ends_it_as_it_does_here(cluster, tmp_path):
    data = kit.write(tmp_path / "data", kit.table([*range(122), -1]), group=50)
    assert ended(job(data, tmp_path / "here"))[0] == 2
    status, _, err = ended(on_ray(cluster, data, tmp_path / "there"), LONG)
    assert status == 2
    assert f"{data}/0.parquet, row 122: x is below 0" in err
    assert "Traceback" not in err
    status, _, err = ended(on_ray(cluster, data, tmp_path / "skipping", "--on-error", "skip"), LONG)
    assert status == 0, err
    assert kit.ids(tmp_path / "skipping") == list(range(122))


@pytest.mark.slow
def test_a_fragment_that_kills_every_actor_ends_the_job_with_its_name(cluster, tmp_path):
    second = np.zeros(ROWS)
    second[123] = 7
    data = kit.write(tmp_path / "data", kit.table(range(ROWS), second), group=50)
    status, _, err = ended(on_ray(cluster, data, tmp_path / "out"), LONG)
    assert status == 1
    assert f"{data}/0.parquet, row 120: actor after actor died" in err
    assert f"{tmp_path}/out/_argosy/logs/ray-0.log" in err


@pytest.mark.slow
def test_a_fragment_at_which_every_actor_hangs_ends_the_job_with_its_name(cluster, tmp_path):
    second = np.zeros(ROWS)
    second[123] = 8
    data = kit.write(tmp_path / "data", kit.table(range(ROWS), second), group=50)
    status, _, err = ended(on_ray(cluster, data, tmp_path / "out", "--patience", 12), LONG)
    assert status == 1
    assert f"{data}/0.parquet, row 120: actor after actor died at the rows from there on; the last hung for" in err
    assert "raise --patience" in err
    assert "most recent call first" in (tmp_path / "out/_argosy/logs/ray-0.log").read_text()


@pytest.mark.slow
def test_a_lost_node_costs_no_row_and_the_output_is_that_of_the_local_engine(cluster, data, tmp_path):
    assert ended(job(data, tmp_path / "here"))[0] == 0
    process = on_ray(cluster, data, tmp_path / "there", "--json")
    until(lambda: kit.entries(tmp_path / "there"))
    until(lambda: cluster.lose(2, tmp_path / "there/_argosy/spool", lambda: done(tmp_path / "there")))
    status, out, err = ended(process, LONG)
    assert status == 0, err
    told = json.loads(out)
    assert (told["rows"], told["out"], told["answered"]) == (ROWS, ROWS, ROWS)
    assert kit.ids(tmp_path / "there") == list(range(ROWS))
    assert told["seal"]["digest"] == sealed(tmp_path / "here")
    assert kit.parts(tmp_path / "there") == kit.parts(tmp_path / "here")
    assert all("rows" in line for line in err.splitlines()), err
    assert "100%" in err
    assert any(entry.attempts > 1 for entry in kit.entries(tmp_path / "there"))


@pytest.mark.slow
def test_from_a_bucket_into_a_bucket_whose_keys_the_nodes_have(s3, data, tmp_path):
    source, output = place(f"{s3}/ray-in"), place(f"{s3}/ray-out")
    for file in sorted(data.iterdir()):
        source.join(file.name).put(file)
    with nodes.running(0, 1, 1, log=tmp_path / "log") as cluster:
        process = on_ray(cluster, source, output, "--json")
        spools = Stage(output).root / "spool"
        until(lambda: Ledger(output).entries())
        until(lambda: cluster.lose(2, spools, lambda: {each.fragment for each in Ledger(output).entries().values()}))
        status, out, err = ended(process, LONG)
    assert status == 0, err
    assert json.loads(out)["out"] == ROWS
    entries = sorted(Ledger(output).entries().values(), key=lambda entry: entry.number)
    tables = [pq.read_table(output.join(part.name).open()) for entry in entries for part in entry.parts]
    assert [value for table in tables for value in table["id"].to_pylist()] == list(range(ROWS))
    assert sealed(output)


def test_a_cluster_that_is_not_there_is_said(data, tmp_path):
    status, _, err = ended(job(data, tmp_path / "out", "--engine", "ray", RAY_ADDRESS="127.0.0.1:1"))
    assert (status, "no Ray cluster answers at 127.0.0.1:1" in err) == (6, True)
    assert "--resume" in err


def test_without_ray_it_says_what_to_install(data, tmp_path):
    (tmp_path / "ray.py").write_text("raise ModuleNotFoundError('no ray', name='ray')\n")
    path = os.pathsep.join([str(tmp_path), *filter(None, [os.environ.get("PYTHONPATH")])])
    status, _, err = ended(job(data, tmp_path / "out", "--engine", "ray", PYTHONPATH=path))
    assert (status, "[ray]" in err) == (9, True)


@pytest.mark.slow
def test_a_node_installs_by_the_lock_of_the_driver(tmp_path, monkeypatch):
    pytest.importorskip("uv")
    wheels.write(tmp_path / "wheels", "argosy-tiny", "1.0", "FACTOR = 2.0\n")
    monkeypatch.setenv("UV_FIND_LINKS", str(tmp_path / "wheels"))
    monkeypatch.setenv("UV_OFFLINE", "1")
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "requirements.txt").write_text("argosy-tiny\n")
    (tmp_path / "model" / "model.py").write_text(
        "import argosy_tiny\n\n\nclass Model:\n    def load(self, path):\n        pass\n\n"
        "    def predict(self, inputs):\n        return {'y': inputs['x'][:, 0] * argosy_tiny.FACTOR}\n"
    )
    np.save(tmp_path / "x.npy", np.arange(8.0).reshape(4, 2))
    store = open_store(Home(tmp_path / "here"), Settings())
    options = PushOptions(sample=tmp_path / "x.npy")
    push(tmp_path / "model", name="m", store=store, options=options, report=lambda step: None)
    store.close()
    monkeypatch.setenv("ARGOSY_HOME", str(tmp_path / "node"))
    with nodes.running(1, log=tmp_path / "log") as found:
        wheels.write(tmp_path / "wheels", "argosy-tiny", "1.1", "FACTOR = 3.0\n")
        monkeypatch.setenv("ARGOSY_HOME", str(tmp_path / "here"))
        given = ("m", "--input", tmp_path / "x.npy", "--output", tmp_path / "out", "--engine", "ray")
        status, _, err = ended(kit.start(*given, RAY_ADDRESS=found.address), LONG)
    assert status == 0, err
    assert len(list((tmp_path / "node" / "cache" / "environments").glob("*/argosy_tiny-1.0.dist-info"))) == 1
    (part,) = (tmp_path / "out").glob("part-*.parquet")
    assert pq.read_table(part)["y"].to_pylist() == [0.0, 4.0, 8.0, 12.0]
