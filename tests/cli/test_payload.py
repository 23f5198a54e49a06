from datetime import UTC, datetime

import msgspec
import pytest
from pyarrow import parquet

from argosy.cli.logs import moment
from argosy.spec.errors import InvalidArgument
from tests.store.payloads.kit import NOON, record, writer


@pytest.fixture
def log(place):
    writer(place.payloads).write(
        [record(n, time=NOON + n * 10**6, code=500 if n == 3 else 200, country=b"\x1b[31m") for n in range(30)]
    )


def test_table(run, log):
    result = run("logs", "payload", "digits")
    assert result.exit_code == 0, result.output
    lines = result.stdout.splitlines()
    assert lines[0].startswith("REQUEST_ID")
    assert [line.split()[0] for line in lines[1:]] == [f"r{n}" for n in range(10, 30)]
    assert "\x1b" not in result.stdout


def test_json_lines(run, log):
    result = run("logs", "payload", "digits", "--where", "code >= 500", "--json")
    row = msgspec.json.decode(result.stdout)
    assert (row["request_id"], row["input.age"], row["output.label"]) == ("r3", 3, None)


def test_csv_and_parquet(run, log, tmp_path):
    result = run("logs", "payload", "digits", "--format", "csv", "--limit", 0)
    assert result.stdout.splitlines()[0].startswith("request_id,row,rows,time")
    assert len(result.stdout.splitlines()) == 31
    assert '"[0.5,0.5]"' in result.stdout
    out = tmp_path / "out.parquet"
    assert "20 rows" in run("logs", "payload", "digits", "--format", "parquet", "-o", out).stderr
    assert parquet.read_table(out).num_rows == 20


def test_what_is_wrong_is_said(run, log):
    assert "no_such" in run("logs", "payload", "digits", "--where", "no_such = 1").stderr
    assert run("logs", "payload", "digit").exit_code == 4
    assert "12h" in run("logs", "payload", "digits", "--since", "soon").stderr
    assert "-o needs --format" in run("logs", "payload", "digits", "-o", "x").stderr


def test_a_single_payload_is_a_name_like_any_other(run, place):
    (place.logs / "payload-0f0f0f-0.log").write_text("a line\n")
    assert run("logs", "payload").stdout == "payload-0f0f0f-0  a line\n"
    assert "Example:" in run("logs", "payload", "--help").stdout


def test_moments():
    now = datetime(2026, 1, 31, 12, tzinfo=UTC)
    assert moment("90m", now, "--since") == datetime(2026, 1, 31, 10, 30, tzinfo=UTC)
    assert moment("2026-01-31T01:00", now, "--since") == datetime(2026, 1, 31, 1, tzinfo=UTC)
    assert moment("2026-01-31T01:00+01:00", now, "--since") == datetime(2026, 1, 31, tzinfo=UTC)
    with pytest.raises(InvalidArgument):
        moment("yesterday", now, "--since")
