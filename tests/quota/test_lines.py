"""The access log as what was used: each line once, through renames, kills of the reader, and lines that are none."""

import json
import os

import pytest

from argosy.quota.lines import LogReader, all_used, used
from argosy.serving import counts
from argosy.spec.language import Price
from argosy.store.usage import HOUR, AnswerCounts, Position, bucket

PRICES = {"gemma": Price(input=1.0, cached=0.5, output=3.0)}


def line(**tokens):
    fields = {"time": "2026-11-27T12:00:30.123Z", "endpoint": "gemma", "version": "2", "key": "k", "status": 200}
    fields |= {"ms": 1100, "first_byte_ms": 100, "flags": tokens.pop("flags", None)}
    more = {"input": 1000, "cached": 400, "output": 11, "reasoning": 3, "finish": "stop", "stream": True}
    return json.dumps(fields | {"tokens": more | {"reserved": 5000, "lease": "ab.1"} | tokens}).encode()


def test_what_a_line_says():
    found = used(line(), PRICES)
    assert found is not None
    assert (found.at, found.lease, found.reserved) == (1795780830, "ab.1", 5000)
    usage = found.usage
    assert (usage.key, usage.endpoint, usage.version, usage.hour) == ("k", "gemma", "2", 1795780830 // HOUR * HOUR)
    assert (usage.requests, usage.aborted) == (1, 0)
    assert (usage.input, usage.cached, usage.output, usage.reasoning) == (1000, 400, 11, 3)
    assert usage.money == pytest.approx((600 * 1.0 + 400 * 0.5 + 11 * 3.0) / 1e6)
    assert (usage.first, usage.each) == (100, 100)
    assert usage.firsts == usage.eaches == {bucket(100): 1}


def test_an_answer_of_a_revision_is_counted_for_rollouts():
    given = json.loads(line()) | {"revision": "ab12"}
    found = used(json.dumps(given).encode(), {})
    assert found is not None
    tenth = {counts.bucket(0.1): 1}
    assert found.counted == AnswerCounts(
        endpoint="gemma",
        revision="ab12",
        at=found.at,
        firsts=tenth,
        eaches=tenth,
        speeds=tenth,
        lengths={counts.bucket(0.011): 1},
        finishes={"stop": 1},
        input=1000,
        cached=400,
    )
    quick = used(json.dumps(given | {"ms": 2, "first_byte_ms": 1}).encode(), {})
    assert quick is not None
    assert quick.counted is not None
    assert quick.counted.firsts == {counts.bucket(0.005): 1}
    assert quick.counted.eaches == {counts.bucket(0.0005): 1}
    plain = used(line(), {})
    assert plain is not None
    assert plain.counted is None


def test_what_crosses_a_border_counts_for_its_key_once_and_for_the_revision_that_answered():
    sent, answered = (
        used(json.dumps(json.loads(line()) | {"revision": "ab12"} | more).encode(), {})
        for more in ({"region": "west"}, {"peer": True})
    )
    assert sent is not None
    assert answered is not None
    assert (sent.usage.key, sent.counted) == ("k", None)
    assert answered.usage.key == ""
    assert answered.counted is not None


def test_what_is_counted_of_answers_that_are_no_streams_or_have_no_end():
    given = json.loads(line(stream=False, finish="length", refused=1)) | {"revision": "ab12"}
    whole, cut = (used(json.dumps(given | {"flags": flags}).encode(), {}) for flags in ("-", "DC"))
    assert whole is not None
    assert cut is not None
    assert whole.counted is not None
    assert cut.counted is not None
    assert (whole.counted.firsts, whole.counted.speeds) == ({}, {counts.bucket(0.1): 1})
    assert (whole.counted.refusals, whole.counted.finishes) == ({1: 1}, {"length": 1})
    assert (cut.counted.speeds, cut.counted.lengths, cut.counted.finishes) == ({}, {}, {})
    assert cut.counted.input == 1000


def test_a_client_that_leaves_before_a_number_is_said_is_charged_to_limits_alone():
    nothing = {"input": None, "cached": None, "output": None, "reasoning": None, "finish": None, "prompt": 250}
    left = used(line(stream=False, flags="DC", **nothing), PRICES)
    assert left is not None
    assert (left.usage.requests, left.usage.aborted, left.usage.input, left.usage.money) == (1, 1, 0, 0.0)
    assert (left.estimated, left.reserved, left.lease) == (250, 5000, "ab.1")
    free = used(line(stream=False, flags="UPE,DC", reserved=None, lease=None, **nothing), PRICES)
    assert free is not None
    assert (free.usage.aborted, free.estimated, free.reserved) == (1, 250, 0)
    assert used(line(stream=False, flags="UF", reserved=None, **nothing), PRICES) is None
    known = used(line(flags="DC", prompt=250), PRICES)
    assert known is not None
    assert known.estimated == 0


def test_an_answer_without_an_end_and_one_that_is_no_stream():
    cut, whole = used(line(flags="DC"), {}), used(line(stream=False, output=11.0), {})
    assert cut is not None
    assert whole is not None
    assert (cut.usage.aborted, cut.usage.money) == (1, 0.0)
    assert (whole.usage.first, whole.usage.firsts, whole.usage.output) == (0.0, {}, 11)


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"{}",
        b'{"tokens": null, "time": "2026-11-27T12:00:30Z", "endpoint": "gemma"}',
        b'{"tokens": {"input": null}, "time": "2026-11-27T12:00:30Z", "endpoint": "gemma"}',
        b'{"tokens": {"input": 1}, "time": "yesterday", "endpoint": "gemma"}',
        b'{"tokens": {"input": 1}, "time": "2026-11-27T12:00:30Z", "endpoint": null}',
        b'{"tokens": {"input": 1}, "ti{"tokens"',
        b'"tokens" \xff\xfe',
    ],
    ids=["nothing", "empty", "no language model", "nothing counted", "no time", "no endpoint", "broken", "bytes"],
)
def test_lines_that_are_about_no_tokens(data):
    assert used(data, PRICES) is None


def read_all(reader):
    found = []
    while True:
        after, lines = reader.read()
        if after == reader.position:
            return [each.decode() for each in found]
        reader.position = after
        found += lines


def test_lines_are_read_once_also_when_the_log_is_renamed(tmp_path):
    log, old = tmp_path / "a.log", tmp_path / "a.log.1"
    writer = log.open("w")
    writer.write("1\n2\n3")
    writer.flush()
    reader = LogReader(log, Position("a"))
    assert read_all(reader) == ["1", "2"]
    log.rename(old)
    os.close(os.open(log, os.O_CREAT))
    writer.write("\n4\n")
    writer.flush()
    assert read_all(reader) == ["3", "4"], "Envoy still writes to the old file"
    reader = LogReader(log, reader.position)  # as one that begins after a kill
    writer.write("5\n")
    writer.close()
    log.write_text("6\n")
    assert read_all(reader) == ["5", "6"]
    log.write_text("")
    log.write_text("7\n8\n")
    assert read_all(LogReader(log, Position("a", reader.position.inode, 100))) == ["7", "8"], "emptied in place"


def test_a_reader_that_was_away_for_two_renames_goes_on_with_what_there_is(tmp_path):
    log, old = tmp_path / "a.log", tmp_path / "a.log.1"
    old.write_text("1\n")
    log.write_text("2\n")
    assert read_all(LogReader(log, Position("a", 1, 50))) == ["1", "2"]
    old.unlink()
    assert read_all(LogReader(log, Position("a", 1, 50))) == ["2"]
    log.unlink()
    with pytest.raises(FileNotFoundError):
        LogReader(log, Position("a")).read()


def test_all_lines(tmp_path):
    assert [each.usage.output for each in all_used([line(output=1), b"", line(output=2)], {})] == [1, 2]
