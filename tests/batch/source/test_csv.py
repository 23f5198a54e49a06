"""CSV in fragments: however it is cut, the rows are those that Python's own reader finds."""

import csv
import gzip
import io
from pathlib import Path

import pyarrow as pa
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from argosy.batch.fragment import FAULT
from argosy.batch.source import records
from argosy.batch.source.csv import plan, read, schema
from argosy.batch.source.shape import READING
from argosy.spec.errors import Conflict, InvalidArgument
from tests.batch.source.kit import file_of, rows_of

TEXT = pa.string()
fields = st.text(st.sampled_from('ab,"\n\r é'), max_size=6)


@pytest.fixture(autouse=True)
def small_chunks(monkeypatch):
    """So that records straddle the borders of what is read together."""
    monkeypatch.setattr(records.chunks, "__defaults__", (7,))


def written(path: Path, rows: list[list[str]], end: str = "\n", quoting: int = csv.QUOTE_MINIMAL, last: bool = True):
    out = io.StringIO(newline="")
    csv.writer(out, lineterminator=end, quoting=quoting).writerows(rows)
    text = out.getvalue()
    path.write_bytes((text if last else text.removesuffix(end)).encode())
    return file_of(path)


@given(
    st.lists(st.tuples(fields, fields), max_size=12),
    st.integers(1, 6),
    st.integers(1, 5),
    st.integers(0, 3),
    st.sampled_from(["\n", "\r\n"]),
    st.booleans(),
)
def test_however_it_is_cut_the_rows_are_the_same(tmp_path_factory, rows, wanted, batch, skip, end, last):
    path = tmp_path_factory.mktemp("c") / "x.csv"
    file = written(path, [["a", "b"], *map(list, rows)], end, csv.QUOTE_ALL, last)
    found = rows_of(file, wanted, batch, pa.schema([("a", TEXT), ("b", TEXT)]), skip)
    assert found == [{"a": a or None, "b": b or None} for a, b in rows]


@given(st.binary(max_size=60), st.integers(1, 4), st.integers(1, 3))
@example(b'x,5"\n"a\nb",2\n', 1, 1)
@example(b'x,"5\n"a\nb",2\n', 1, 1)
@example(b'5"",""\n"",a\n', 1, 1)
@example(b'"a"b"c,d\n\r1,2', 1, 2)
def test_no_text_is_read_otherwise_in_pieces(tmp_path_factory, body, wanted, batch):
    body = bytes(b'ab,,"\n\r1'[byte % 8] for byte in body) if len(body) % 2 else body
    path = tmp_path_factory.mktemp("c") / "x.csv"
    path.write_bytes(b"a,b\n" + body)
    kinds = pa.schema([("a", TEXT), ("b", pa.float64())])
    file = file_of(path)
    assert repr(rows_of(file, wanted, batch, kinds)) == repr(rows_of(file, 10**6, 10**6, kinds))


@given(st.lists(st.sampled_from(["1", "-7", "2.5", "1e400", " 5", "0x1F", "nan", "NAN(1)", "true", "x", "", "1_0"])))
def test_numbers_are_those_of_the_other_readers(tmp_path_factory, values):
    from argosy.packaging.rows import cast_array
    from argosy.spec.signature import TensorSpec

    file = written(tmp_path_factory.mktemp("c") / "x.csv", [["a", "b"], *([value, "1"] for value in values)])
    spec = TensorSpec(name="a", datatype="FP64", shape=(-1,))
    for value, row in zip(values, rows_of(file, 3, 2, pa.schema([("a", pa.float64())])), strict=True):
        try:
            wanted = cast_array(pa.array([value or None]).to_numpy(zero_copy_only=False), spec, "a")[0]
        except InvalidArgument:
            assert "no number" in row[FAULT]
        else:
            got = float("nan") if row["a"] is None else row["a"]
            assert repr(float(wanted)) == repr(got)


def test_types_are_guessed_from_the_first_rows(tmp_path, monkeypatch):
    monkeypatch.setattr(records.chunks, "__defaults__", (10_000,))
    rows = [["i", "f", "zero", "b", "t", "big", "none", "long"], ["1", "1", "007", "true", "a", "9" * 20, "", "9" * 18]]
    rows += [["-2", "2.5", "8", "False", "5", "1", "", "1"]]
    found = schema(written(tmp_path / "x.csv", rows))
    kinds = [pa.int64(), pa.float64(), TEXT, pa.bool_(), TEXT, TEXT, TEXT, pa.int64()]
    assert [field.type for field in found] == kinds


def test_rows_that_cannot_be_read_say_why_and_stand_in_their_place(tmp_path):
    path = tmp_path / "x.csv"
    path.write_bytes(b'a,b\n1,2\n3\n4,five\n\xff,6\n7,8,9\n10,11\n"12,13\n')
    found = rows_of(file_of(path), 2, 2, pa.schema([("a", TEXT), ("b", pa.float64())]))
    assert [(row["a"], row["b"]) for row in found] == [
        ("1", 2), (None, None), ("4", None), (None, 6), (None, None), ("10", 11), (None, None)
    ]  # fmt: skip
    said = [
        "1 values for 2 columns: 3",
        "column 'b': 'five' is no number",
        "is no text",
        "3 values for 2",
        "never closed",
    ]
    for words, reason in zip(said, [row[FAULT] for row in found if row.get(FAULT)], strict=True):
        assert words in reason


def test_declared_words_for_nothing_and_columns_that_keep_their_text(tmp_path):
    path = tmp_path / "x.csv"
    path.write_bytes(b"id,x\n1,NA\n02,3\n-,4\n")
    how = b'{"nulls":["NA","-"],"exact":["id"]}'
    found = rows_of(file_of(path), 5, 5, pa.schema([("id", pa.int64()), ("x", pa.float64())], {READING: how}))
    assert [(row["id"], row["x"]) for row in found] == [(1, None), (None, 3), (None, 4)]
    assert [row.get(FAULT) for row in found] == [None, "column 'id': '02' is no int64 as the first rows are", None]


@pytest.mark.parametrize("ending", ["csv.gz", "csv.zst", "tsv"])
def test_compressed_and_with_tabs(tmp_path, ending):
    rows = [["a", "b"], *([f"{n}", f"x\n{n}"] for n in range(50))]
    out = io.StringIO(newline="")
    csv.writer(out, delimiter="\t" if ending == "tsv" else ",").writerows(rows)
    data = b"\xef\xbb\xbf" + out.getvalue().encode()
    packed = {"csv.gz": gzip.compress, "csv.zst": lambda text: pa.compress(text, "zstd", asbytes=True), "tsv": bytes}
    path = tmp_path / f"x.{ending}"
    path.write_bytes(packed[ending](data))
    kinds = pa.schema([("b", TEXT), ("a", pa.int64())])
    assert rows_of(file_of(path), 9, 4, kinds, 3) == [{"b": f"x\n{n}", "a": n} for n in range(50)]
    assert len(plan(file_of(path), 9)) == (6 if ending == "tsv" else 1)


def test_no_rows(tmp_path):
    file = written(tmp_path / "x.csv", [["a", "b"]])
    assert (schema(file).names, plan(file, 5)) == (["a", "b"], [])


@pytest.mark.parametrize(
    ("data", "said"),
    [
        ("a,b\n1,2\n".encode("utf-16"), "UTF-16"),
        (b"a,a\n1,2\n", "two columns are named 'a'"),
        (b"\xff,b\n1,2\n", "not CSV in UTF-8"),
        (b"\n\n", "no header"),
    ],
)
def test_files_that_are_no_csv(tmp_path, data, said):
    path = tmp_path / "x.csv"
    path.write_bytes(data)
    with pytest.raises(InvalidArgument, match=said):
        schema(file_of(path))


def test_broken_compression_a_changed_file_and_an_endless_quote(tmp_path, monkeypatch):
    path = tmp_path / "x.csv.gz"
    path.write_bytes(gzip.compress(b"a,b\n" + b"1,2\n" * 5000)[:-20])
    with pytest.raises(InvalidArgument, match="cannot be read as text"):
        rows_of(file_of(path), 5, schema=pa.schema([("a", TEXT)]))
    path = tmp_path / "x.csv"
    path.write_bytes(b"a,b\n1,2\n")
    (fragment,) = plan(file_of(path), 5)
    path.write_bytes(b"a,b\n1,3\n")
    with pytest.raises(Conflict, match="has changed"):
        list(read(fragment, 0, 5, pa.schema([("a", TEXT)])))
    monkeypatch.setattr(records, "LONGEST", 1000)
    path.write_bytes(b'a,b\n1,"' + b"2,3\n" * 5000)
    with pytest.raises(InvalidArgument, match="is a quote never closed"):
        plan(file_of(path), 5)


def test_in_a_bucket(s3, tmp_path):
    from argosy.batch.place import place

    place(f"{s3}/csv/x.csv").put(b"a,b\n" + b"".join(b"%d,2\n" % n for n in range(100)))
    assert [row["a"] for row in rows_of(file_of(f"{s3}/csv/*"), 30, schema=pa.schema([("a", pa.int64())]))] == list(
        range(100)
    )
