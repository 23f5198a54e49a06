import json
from pathlib import Path

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from argosy.batch.fragment import FAULT
from argosy.batch.source import records
from argosy.batch.source.jsonl import plan, schema
from argosy.spec.errors import InvalidArgument
from tests.batch.source.kit import file_of, rows_of

KINDS = pa.schema([("n", pa.float64()), ("s", pa.string()), ("l", pa.list_(pa.float64())), ("a b", pa.int64())])

rows = st.fixed_dictionaries(
    {},
    optional={
        "n": st.none() | st.floats(allow_nan=False, allow_infinity=False) | st.integers(-5, 2**53),
        "s": st.none() | st.text(),
        "l": st.none() | st.lists(st.none() | st.integers(0, 9)),
        "a b": st.none() | st.integers(-(2**63), 2**63 - 1),
        "z": st.booleans(),
    },
)


@pytest.fixture(autouse=True)
def small_chunks(monkeypatch):
    monkeypatch.setattr(records.chunks, "__defaults__", (40,))


def written(path: Path, found: list, ascii: bool = True, head: bytes = b""):
    path.write_bytes(head + "".join(json.dumps(row, ensure_ascii=ascii) + "\n" for row in found).encode())
    return file_of(path)


@given(st.lists(rows, min_size=1), st.integers(1, 6), st.integers(1, 5), st.integers(0, 4), st.booleans())
def test_however_it_is_cut_the_rows_are_the_same(tmp_path_factory, found, wanted, batch, skip, marked):
    path = tmp_path_factory.mktemp("j") / "x.jsonl"
    file = written(path, found, ascii=not marked, head=b"\xef\xbb\xbf" if marked else b"")
    read = rows_of(file, wanted, batch, KINDS, skip)
    assert read == [{name: row.get(name) for name in KINDS.names} for row in found]


LINES = [
    (b'{"n":1}', 1.0),
    (b'{"n":"2.5"}', 2.5),
    (b'{"n":true}', 1.0),
    (b'{"n":null}', None),
    (b'{"n":12345678901234567890123}', 12345678901234567890123.0),
    (b'{"n":1,"n":2}', 2.0),
    (b"{}", None),
    (b"null", "no JSON object: null"),
    (b"[1]", "no JSON object"),
    (b'{"n":NaN}', "no JSON object"),
    (b'{"n":1', "no JSON object"),
    (b'{"n":"x"}', "column 'n': 'x' is no number"),
    (b'{"n":[1]}', "column 'n': [1] is no number"),
    (b'{"s":5}', "column 's': 5 is no text"),
    (b'{"s":"\xff"}', "no JSON object"),
    (b'{"a b":1.5}', "column 'a b': 1.5 is no INT64"),
    (b'{"a b":9223372036854775808}', "is no INT64"),
    (b'{"l":5}', "column 'l': 5 is no list"),
    (b'{"l":[1,"x"]}', "column 'l'"),
    (b"[" * 100_000, "no JSON object"),
]


@given(st.permutations(LINES), st.integers(1, 9))
def test_odd_lines_stand_in_their_place(tmp_path_factory, lines, wanted):
    path = tmp_path_factory.mktemp("j") / "x.jsonl"
    path.write_bytes(b"\n\n".join(line for line, _ in lines))
    for (_, meant), row in zip(lines, rows_of(file_of(path), wanted, 3, KINDS), strict=True):
        if isinstance(meant, str):
            assert meant in row[FAULT]
            assert row["n"] is row["s"] is row["l"] is None
        else:
            assert (row["n"], row.get(FAULT)) == (meant, None)


def test_types_are_guessed_from_the_first_lines(tmp_path):
    found = [{"i": 1, "f": 1, "s": "x", "b": True, "n": None, "l": [1, 2.5], "d": {"k": 1}, "day": "2026-01-01"}]
    found += [{"i": 2, "f": 1.5, "later": 2**63}]
    guessed = schema(written(tmp_path / "x.jsonl", found))
    assert dict(zip(guessed.names, guessed.types, strict=True)) == {
        "i": pa.int64(), "f": pa.float64(), "s": pa.string(), "b": pa.bool_(), "n": pa.string(),
        "l": pa.list_(pa.float64()), "d": pa.struct([("k", pa.int64())]), "day": pa.string(), "later": pa.uint64(),
    }  # fmt: skip


def test_files_that_hold_no_objects(tmp_path):
    for data in (b"[1]\n[2]\n", b"\n\n", b"{}\n"):
        (tmp_path / "x.jsonl").write_bytes(data)
        with pytest.raises(InvalidArgument, match="no JSON object with a column"):
            schema(file_of(tmp_path / "x.jsonl"))


def test_compressed(tmp_path):
    path = tmp_path / "x.ndjson.zst"
    data = b"".join(b'{"a b":%d}\n' % n for n in range(30))
    path.write_bytes(pa.compress(data, "zstd", asbytes=True))
    assert [row["a b"] for row in rows_of(file_of(path), 7, 4, KINDS, 5)] == list(range(30))
    assert [piece.rows for piece in plan(file_of(path), 7)] == [None]
