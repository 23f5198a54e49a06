"""`argosy batch run` inside this process: what it prints, and what it refuses."""

import json

import pytest

from tests.batch import kit


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    return kit.home(tmp_path_factory.mktemp("home"))


@pytest.fixture(autouse=True)
def at_home(place, home, monkeypatch):
    monkeypatch.setenv("ARGOSY_HOME", str(home.root))


@pytest.fixture
def data(tmp_path):
    return kit.write(tmp_path / "data", kit.table([*range(60), -1]))


def test_a_job_that_leaves_rows_out_says_how_many(run, data, tmp_path):
    job = ("batch", "run", "picky:1", "--input", data, "-o", tmp_path / "out", "--workers", 1, "--keep", "id")
    done = run(*job, "--on-error", "quarantine")
    assert done.exit_code == 0, done.stderr
    assert "61 read, 60 written" in done.stdout
    assert "1 quarantined" in done.stdout
    assert kit.ids(tmp_path / "out") == list(range(60))


def test_a_row_that_cannot_be_answered_ends_the_job_with_its_place(run, data, tmp_path):
    done = run("batch", "run", "picky:1", "--input", data, "-o", tmp_path / "out", "--workers", 1, "--json")
    assert done.exit_code == 2
    assert f"{data}/0.parquet, row 60: x is below 0" in done.stderr
    assert f"argosy batch run --output {tmp_path / 'out'} --resume" in done.stderr
    assert json.loads(done.stderr.splitlines()[-1])["code"] == "invalid_argument"


def test_a_job_in_csv_with_a_mapped_column(run, tmp_path):
    table = kit.table(range(50)).rename_columns(["id", "features"])
    data = kit.write(tmp_path / "data", table)
    job = ("batch", "run", "picky:1", "--input", data, "--map", "x=features", "--keep", "id", "--format", "csv")
    done = run(*job, "--output", tmp_path / "out", "--workers", 1, "--price", "0.5", "--json")
    assert done.exit_code == 0, done.stderr
    told = json.loads(done.stdout)
    assert (told["rows"], told["seal"]["fragments"]) == (50, 1)
    (part,) = (tmp_path / "out").glob("part-*.csv")
    assert part.read_text().replace('"', "").splitlines()[:2] == ["id,label", "0,1"]
    assert "cost so far 0." in done.stderr


def test_columns_that_are_not_used_are_named_once(run, tmp_path):
    tables = [kit.table(range(5)).append_column(name, [["a"] * 5]) for name in ("town", "zone")]
    data = kit.write(tmp_path / "data", *tables)
    job = ("batch", "run", "picky:1", "--input", data, "-o", tmp_path / "out", "--workers", 1)
    done = run(*job, "--keep", "id")
    assert done.exit_code == 0, done.stderr
    said = "2 columns are neither taken by the model nor kept, and left out: 'town', 'zone'"
    assert [line for line in done.stderr.splitlines() if "town" in line] == [said]
    (tmp_path / "out/_argosy/report.html").unlink()
    again = run(*job, "--keep", "id", "--resume")
    assert (again.exit_code, "town" in again.stderr) == (0, False)


def test_nothing_is_said_where_all_columns_are_used(run, tmp_path):
    data = kit.write(tmp_path / "data", kit.table(range(5)))
    job = ("batch", "run", "picky:1", "--input", data, "--workers", 1, "-o")
    assert "left out" not in run(*job, tmp_path / "kept", "--keep", "id").stderr
    assert "1 column is neither taken by the model nor kept, and left out: 'id'" in run(*job, tmp_path / "out").stderr


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--map", "x"), "INPUT=COLUMN"),
        (("--map", "x=a", "--map", "x=b"), "twice"),
        (("--on-error", "ignore"), "ignore"),
        (("--fragment-rows", "0"), "fragment_rows must be"),
        (("--format", "xml"), "xml"),
        (("--checkpoint", "-1"), "checkpoint"),
        (("--patience", "-1"), "patience must be at least 0"),
        (("--patience", "5", "--checkpoint", "9"), "patience must be 0 (for ever) or at least 10 seconds"),
    ],
)
def test_what_cannot_be_is_refused(run, data, tmp_path, arguments, said):
    done = run("batch", "run", "picky:1", "--input", data, "--output", tmp_path / "out", *arguments)
    assert done.exit_code == 2
    assert said in done.stderr
    assert not (tmp_path / "out").exists()


def test_without_model_or_input_there_is_nothing_to_do(run, tmp_path):
    done = run("batch", "run", "--output", tmp_path / "out")
    assert (done.exit_code, "give model" in done.stderr) == (2, True)
    done = run("batch", "run", "picky:1", "--output", tmp_path / "out")
    assert (done.exit_code, "give inputs" in done.stderr) == (2, True)
