"""Batch jobs of a language model, with a fake engine in the place of vLLM."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import msgspec
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from argosy.batch import requests
from argosy.batch.fragment import File
from argosy.batch.place import place
from argosy.batch.source import source
from argosy.client.batch import batch
from argosy.engines.language.rows import SIGNATURE, LanguageRows
from argosy.engines.language.vllm import PYTHON
from argosy.packaging.language import golden
from argosy.spec.batch import BatchJob
from argosy.spec.errors import GoldenMismatch, InvalidArgument
from tests.language.packages import fake_package


@pytest.fixture(autouse=True)
def fake(monkeypatch, tmp_path):
    monkeypatch.setenv(PYTHON, str(Path(__file__).parents[1] / "fake_vllm"))
    monkeypatch.setenv("PATH", f"{Path(sys.executable).parent}:{os.environ['PATH']}")
    monkeypatch.setenv("ARGOSY_HOME", str(tmp_path / "home"))


@pytest.fixture
def package(tmp_path):
    return fake_package(tmp_path / "package")


def lines(path, *rows):
    path.write_text("".join(f"{json.dumps(row)}\n" for row in rows))
    return path


def chat(text, **more):
    return {"messages": [{"role": "user", "content": text}], **more}


def mapping(path, **settings):
    """What becomes of the rows of a file."""
    stamp = place(str(path)).stamp()
    kind = path.suffix[1:]
    file = File(url=str(path), format=kind, size=stamp.size, mark=stamp.mark)
    job = BatchJob(model="m", inputs=(str(path),), output="o", **settings)
    reader = source(kind)
    found = requests.plan(SIGNATURE, reader.schema(file), job)
    fragments = reader.plan(file, 100)
    batches = [one for fragment in fragments for one in reader.read(fragment, 0, 100, found.reads)]
    return [json.loads(each) for one in batches for each in found.feeds(one)["request"]]


def written(output):
    return [row for path in sorted(output.glob("*.parquet")) for row in pq.read_table(path).to_pylist()]


def test_a_line_is_a_request_or_has_one_under_body(tmp_path):
    rows = [
        chat("a", max_tokens=3, model="gpt", stream=True),
        {"custom_id": "x", "method": "POST", "url": "/v1/chat/completions", "body": chat("b", tools=[{"type": "f"}])},
        {"prompt": "c", "stop": ["d"]},
    ]
    found = mapping(lines(tmp_path / "a.jsonl", *rows))
    assert found == [chat("a", max_tokens=3), chat("b", tools=[{"type": "f"}]), {"prompt": "c", "stop": ["d"]}]


def test_a_line_that_asks_nothing_is_refused(tmp_path):
    with pytest.raises(InvalidArgument, match="neither messages nor a prompt"):
        mapping(lines(tmp_path / "a.jsonl", {"text": "a"}))


def test_a_template_makes_requests_of_columns(tmp_path):
    path = lines(tmp_path / "a.jsonl", {"text": "a {n}", "n": 5, "other": 1})
    assert mapping(path, template="Say {text} {n} times") == [chat("Say a {n} 5 times")]
    whole = json.dumps({"prompt": "{text}", "max_tokens": 4})
    assert mapping(path, template=whole) == [{"prompt": "a {n}", "max_tokens": 4}]
    table = tmp_path / "a.parquet"
    pq.write_table(pa.table({"text": ["b", "c"]}), table)
    assert mapping(table, template="{text}!") == [chat("b!"), chat("c!")]
    (tmp_path / "a.csv").write_text("text,n\nd,007\n")
    assert mapping(tmp_path / "a.csv", template="{text}{n}") == [chat("d007")]


def test_files_that_hold_no_requests_need_a_template(tmp_path):
    pq.write_table(pa.table({"text": ["b"]}), tmp_path / "a.parquet")
    with pytest.raises(InvalidArgument, match="--template"):
        mapping(tmp_path / "a.parquet")
    with pytest.raises(InvalidArgument, match="no column 'no'"):
        mapping(tmp_path / "a.parquet", template="{no}")


def test_rows_beside_one_that_is_refused_are_asked_once():
    asked = []

    def send(path, body):
        asked.append(body["prompt"])
        if body["prompt"] == "bad":
            raise InvalidArgument("no")
        return {"choices": [{"text": body["prompt"].upper(), "finish_reason": "stop"}], "usage": {}}

    rows = LanguageRows(send, 2, lambda error: None)
    given = [msgspec.json.encode({"prompt": text}) for text in ("a", "bad", "c", "c")]
    import numpy as np

    with pytest.raises(InvalidArgument):
        rows.predict({"request": np.array(given, object)})
    answers = rows.predict({"request": np.array([given[0], *given[2:]], object)})[0].tolist()
    assert answers == [b"A", b"C", b"C"]
    assert sorted(asked) == ["a", "bad", "c", "c"]
    assert not rows._kept
    rows.close()


def test_each_row_is_answered_once(package, tmp_path):
    rows = [{**chat(f"row {place}", max_tokens=2), "custom_id": f"c{place}"} for place in range(30)]
    data, output = lines(tmp_path / "in.jsonl", *rows), tmp_path / "out"
    result = batch(package, data, output, keep=["custom_id"], fragment_rows=10, trust=True)
    assert (result.rows, result.out) == (30, 30)
    found = written(output)
    assert [row["custom_id"] for row in found] == [f"c{place}" for place in range(30)]
    assert {row["answer"] for row in found} == {"w0 w1"} or all(row["answer"] for row in found)
    assert all(row["completion_tokens"] == 2 for row in found)
    assert json.loads(found[0]["response"])["choices"]


def test_golden_examples_are_replayed_before_rows_are_asked(package, tmp_path):
    path = package / golden.FILE
    other = msgspec.structs.replace(golden.read(package), logprobs=(-1.01,), margin=0.02)
    path.write_bytes(msgspec.json.encode(other))
    data = lines(tmp_path / "in.jsonl", chat("a", max_tokens=1))
    batch(package, data, tmp_path / "out", trust=True)
    told = json.loads((tmp_path / "out/_argosy/report.json").read_text())["golden"]
    assert told["examples"] == 1
    assert told["largest_difference"] == pytest.approx(0.00995, rel=1e-2)
    path.write_bytes(msgspec.json.encode(msgspec.structs.replace(other, logprobs=(-2.0,))))
    with pytest.raises(GoldenMismatch, match="golden text"):
        batch(package, data, tmp_path / "none", trust=True)
    assert not written(tmp_path / "none")


def test_rows_that_are_no_requests_are_quarantined(package, tmp_path):
    data = lines(tmp_path / "in.jsonl", chat("a", max_tokens=1), {"text": "b"}, chat("c", max_tokens=1))
    result = batch(package, data, tmp_path / "out", on_error="quarantine", trust=True)
    assert (result.out, result.quarantined) == (2, 1)


@pytest.mark.slow
def test_a_job_that_is_killed_goes_on_where_it_was(package, tmp_path):
    rows = [{**chat(f"row {place}", max_tokens=2, fake={"delay": 0.05}), "id": place} for place in range(200)]
    data, output = lines(tmp_path / "in.jsonl", *rows), tmp_path / "out"
    program = [str(Path(sys.executable).parent / "argosy"), "batch", "run", str(package), "--input", str(data)]
    program += ["--output", str(output), "--keep", "id", "--checkpoint", "0", "--slots", "2", "--trust"]
    process = subprocess.Popen(program, start_new_session=True)
    spool = output / "_argosy/spool"
    while not any(path.stat().st_size for path in spool.glob("*")):
        assert process.poll() is None
        time.sleep(0.02)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    result = batch(package, data, output, resume=True, trust=True)
    assert result.out == 200
    assert 0 < result.answered <= 200
    assert [row["id"] for row in written(output)] == list(range(200))
