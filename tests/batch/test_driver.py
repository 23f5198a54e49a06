"""Drivers and workers as real processes: ended, refused, out of disk, and killed by what they work at."""

import json
import os
import signal
import subprocess
import time
from pathlib import Path

import numpy as np
import psutil
import pytest

from argosy.batch.ledger import Ledger
from argosy.batch.place import place
from tests.batch import kit
from tests.platform.test_full_disk import Disk, disk

__all__ = ["disk"]

ROWS = 400
SLOW = {"SLOW": "0.1"}


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    return kit.home(tmp_path_factory.mktemp("home"))


@pytest.fixture(autouse=True)
def at_home(home, monkeypatch):
    monkeypatch.setenv("ARGOSY_HOME", str(home.root))


@pytest.fixture
def data(tmp_path):
    return kit.write(tmp_path / "data", kit.table(range(200)), kit.table(range(200, ROWS)))


def job(data, output, *more, **environment):
    """A job of many small steps."""
    fixed = ("--input", data, "--output", output, "--keep", "id", "--workers", 2, "--checkpoint", 0)
    return kit.start("picky:1", *fixed, "--batch-size", 4, "--fragment-rows", 50, *more, **environment)


def ended(process, timeout=60.0):
    """Exit status, standard output, standard error."""
    out, err = process.communicate(timeout=timeout)
    return process.returncode, out, err


def at_work(output: Path, records=1):
    """Wait until something is answered."""
    limit = time.monotonic() + 60
    spool = output / "_argosy/spool"
    while sum(path.stat().st_size > 0 for path in spool.glob("*")) < records:
        assert time.monotonic() < limit
        time.sleep(0.005)


def workers(process) -> list[psutil.Process]:
    return psutil.Process(process.pid).children()


def gone(processes, timeout=60.0):
    return not psutil.wait_procs(processes, timeout)[1]


def resume(output):
    return ended(kit.start("--output", output, "--resume", SLOW="0"))


def finished(output):
    """Whether the rest of a job, once resumed, gives all rows in their order."""
    status, _, err = resume(output)
    assert status == 0, err
    return kit.ids(output) == list(range(ROWS))


def test_a_job_from_its_files_to_its_seal(data, tmp_path):
    status, out, err = ended(job(data, tmp_path / "out", "--json"))
    assert status == 0, err
    told = json.loads(out)
    assert (told["rows"], told["out"], told["answered"]) == (ROWS, ROWS, ROWS)
    assert told["seal"]["digest"].startswith("sha256:")
    assert kit.ids(tmp_path / "out") == list(range(ROWS))
    assert "100%" in err


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_it_after_the_rows_at_hand_and_says_how_to_go_on(data, tmp_path, number):
    process = job(data, tmp_path / "out", **SLOW)
    at_work(tmp_path / "out")
    members = workers(process)
    process.send_signal(number)
    status, _, err = ended(process)
    assert status == 130
    assert f"argosy batch run --output {tmp_path / 'out'} --resume" in err
    assert gone(members)
    assert Ledger(place(str(tmp_path / "out"))).sealed() is None
    assert finished(tmp_path / "out")


@pytest.mark.slow
def test_workers_end_when_the_driver_is_killed(data, tmp_path):
    process = job(data, tmp_path / "out", **SLOW)
    at_work(tmp_path / "out")
    members = workers(process)
    assert members
    process.kill()
    process.communicate()
    assert gone(members)
    assert finished(tmp_path / "out")


@pytest.mark.slow
def test_what_a_killed_worker_had_goes_to_one_that_has_nothing_to_do(tmp_path):
    data = kit.write(tmp_path / "data", kit.table(range(4)), kit.table(range(4, 104)))
    settings = ("--input", data, "--output", tmp_path / "out", "--keep", "id", "--workers", 2, "--checkpoint", 0)
    process = kit.start("picky:1", *settings, "--batch-size", 4, "--fragment-rows", 100, SLOW="0.3")
    spool = tmp_path / "out/_argosy/spool"
    limit = time.monotonic() + 60
    holders = list[psutil.Process]()
    while not (kit.entries(tmp_path / "out") and len(workers(process)) == 2 and holders):
        assert time.monotonic() < limit
        time.sleep(0.01)
        done = {entry.fragment for entry in kit.entries(tmp_path / "out")}
        held = [(one, Path(file.path)) for one in workers(process) for file in one.open_files()]
        holders = [one for one, path in held if path.parent == spool and path.name not in done]
    holders[0].kill()
    status, _, err = ended(process)
    assert status == 0, err
    assert kit.ids(tmp_path / "out") == list(range(104))


@pytest.mark.slow
def test_a_second_driver_is_refused_and_told_who_is_there(data, tmp_path):
    process = job(data, tmp_path / "out", SLOW="1")
    at_work(tmp_path / "out")
    status, _, err = ended(job(data, tmp_path / "out"))
    assert (status, "a job was begun" in err) == (5, True)
    status, _, err = ended(job(data, tmp_path / "out", "--resume"))
    assert (status, f"process {process.pid} on {os.uname().nodename}" in err) == (5, True)
    process.send_signal(signal.SIGTERM)
    assert ended(process)[0] == 130
    assert finished(tmp_path / "out")


@pytest.mark.slow
def test_a_sealed_job_is_not_done_again(data, tmp_path):
    assert ended(job(data, tmp_path / "out"))[0] == 0
    before = kit.parts(tmp_path / "out")
    status, _, err = ended(job(data, tmp_path / "out"))
    assert (status, "--resume" in err) == (5, True)
    status, out, _ = resume(tmp_path / "out")
    assert (status, "0 rows in" in out) == (0, True)
    assert kit.parts(tmp_path / "out") == before


@pytest.mark.slow
def test_an_output_that_was_moved_goes_on_where_it_is(data, tmp_path):
    process = job(data, tmp_path / "out", **SLOW)
    at_work(tmp_path / "out")
    process.send_signal(signal.SIGTERM)
    assert ended(process)[0] == 130
    (tmp_path / "out").rename(tmp_path / "moved")
    assert finished(tmp_path / "moved")
    assert not (tmp_path / "out").exists()


@pytest.mark.slow
def test_a_report_that_a_kill_has_cost_is_written_by_the_next_run(data, tmp_path):
    assert ended(job(data, tmp_path / "out"))[0] == 0
    seal = (tmp_path / "out/_argosy/seal.json").read_bytes()
    (tmp_path / "out/_argosy/report.html").unlink()
    assert finished(tmp_path / "out")
    assert (tmp_path / "out/_argosy/report.html").exists()
    assert (tmp_path / "out/_argosy/seal.json").read_bytes() == seal


@pytest.mark.slow
def test_a_job_does_not_go_on_with_settings_that_would_give_other_output(data, tmp_path):
    process = job(data, tmp_path / "out", **SLOW)
    at_work(tmp_path / "out")
    process.send_signal(signal.SIGINT)
    ended(process)
    status, _, err = ended(kit.start("--output", tmp_path / "out", "--resume", "--format", "csv"))
    assert (status, "format = 'parquet'" in err) == (5, True)
    status, _, err = ended(kit.start("times:1", "--output", tmp_path / "out", "--resume"))
    assert (status, "model = 'picky:1'" in err) == (5, True)
    status, _, err = ended(kit.start("--output", tmp_path / "out", "--resume", "--workers", 1, "--batch-size", 16))
    assert status == 0, err
    assert kit.ids(tmp_path / "out") == list(range(ROWS))


@pytest.mark.slow
def test_a_fragment_that_kills_every_worker_ends_the_job_with_its_name(tmp_path):
    second = np.zeros(ROWS)
    second[123] = 7
    data = kit.write(tmp_path / "data", kit.table(range(ROWS), second), group=50)
    status, _, err = ended(job(data, tmp_path / "out"))
    assert status == 1
    assert f"{data}/0.parquet, row 120: worker after worker died" in err
    assert "SIGSEGV; its last output: Fatal Python error: Segmentation fault, File " in err
    assert 'weights/model.py", line' in err
    logs = [path.read_text() for path in (tmp_path / "out/_argosy/logs").iterdir()]
    assert any("Fatal Python error: Segmentation fault" in text and " in predict\n" in text for text in logs)
    assert "--resume" in err


@pytest.mark.slow
def test_a_package_that_answers_otherwise_than_it_did_answers_nothing(home, data, tmp_path):
    model = kit.package(home, "picky") / "weights/model.py"
    folder = tmp_path / "package"
    subprocess.run(["cp", "-r", model.parent.parent, folder], check=True)
    (folder / "weights/model.py").write_text(model.read_text().replace("* 3", "* 4"))
    status, _, err = ended(kit.start(folder, "--input", data, "--output", tmp_path / "untrusted"))
    assert (status, "nobody here vouches" in err) == (8, True)
    status, _, err = ended(kit.start(folder, "--input", data, "--output", tmp_path / "out", "--trust"))
    assert status == 7
    assert "golden examples" in err
    assert kit.entries(tmp_path / "out") == []


@pytest.mark.slow
def test_another_package_at_the_same_path_is_noticed(home, data, tmp_path):
    folder = tmp_path / "package"
    subprocess.run(["cp", "-r", kit.package(home, "picky"), folder], check=True)
    settings = ("--input", data, "--output", tmp_path / "out", "--batch-size", 4, "--checkpoint", 0)
    process = kit.start(folder, *settings, **SLOW)
    at_work(tmp_path / "out")
    process.send_signal(signal.SIGTERM)
    ended(process)
    (folder / "weights/model.py").write_text((folder / "weights/model.py").read_text() + "\n")
    status, _, err = resume(tmp_path / "out")
    assert (status, "is not the package" in err) == (5, True)


@pytest.mark.slow
def test_an_input_that_changes_ends_the_job(data, tmp_path):
    process = job(data, tmp_path / "out", **SLOW)
    at_work(tmp_path / "out")
    os.utime(data / "0.parquet", (1, 1))
    os.utime(data / "1.parquet", (1, 1))
    status, _, err = ended(process)
    assert (status, "has changed since the job was planned" in err) == (5, True)


@pytest.mark.slow
def test_a_full_disk_ends_it_and_it_goes_on_when_there_is_room(data, disk: Disk):
    process = job(data, disk.root / "out", **SLOW)
    at_work(disk.root / "out")
    disk.fill()
    status, _, err = ended(process)
    assert (status, "no space left" in err) == (10, True)
    assert "--resume" in err
    disk.free()
    assert finished(disk.root / "out")


@pytest.mark.slow
def test_a_job_into_a_bucket_goes_on_after_its_driver_was_killed(data, s3):
    output = place(f"{s3}/driver")
    process = job(data, output.url, "--format", "jsonl", **SLOW)
    limit = time.monotonic() + 60
    while not (ledger := Ledger(output)).entries():
        assert time.monotonic() < limit
        time.sleep(0.05)
    members = workers(process)
    process.kill()
    process.communicate()
    assert gone(members)
    status, _, err = resume(output.url)
    assert status == 0, err
    done = sorted(ledger.entries().values(), key=lambda entry: entry.number)
    lines = b"".join(output.join(part.name).read() for entry in done for part in entry.parts).splitlines()
    assert [json.loads(line)["id"] for line in lines] == list(range(ROWS))
    found = [file.name for file in output.walk() if "_argosy" not in file.url]
    assert sorted(found) == [part.name for entry in done for part in entry.parts]


def test_there_is_nothing_to_resume_where_nothing_was_begun(tmp_path):
    status, _, err = resume(tmp_path / "out")
    assert (status, "nothing to resume" in err) == (2, True)
