import msgspec
import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from argosy.spec.payload import PayloadLog
from argosy.spec.signature import Signature, TensorSpec
from argosy.store.payloads import encode
from argosy.store.payloads.encode import profile, text
from tests.store.payloads import kit
from tests.store.payloads.kit import NOON, encoder, record, request


def test_a_line_for_each_row_of_each_request():
    table = kit.table([record(30, rows=2), record(40, code=503), record(50)])
    assert table.select(["request_id", "row", "rows", "code", "input.age", "input.country"]).to_pylist() == [
        {"request_id": "r30", "row": 0, "rows": 2, "code": 200, "input.age": 30, "input.country": "FR"},
        {"request_id": "r30", "row": 1, "rows": 2, "code": 200, "input.age": 30, "input.country": "FR"},
        {"request_id": "r40", "row": 0, "rows": 1, "code": 503, "input.age": 40, "input.country": "FR"},
        {"request_id": "r50", "row": 0, "rows": 1, "code": 200, "input.age": 50, "input.country": "FR"},
    ]
    assert table["output.label"].to_pylist() == [0, 1, None, 0]
    assert table["output.probability"].to_pylist() == [[0.5, 0.5], [0.5, 0.5], None, [0.5, 0.5]]
    assert table["latency"].to_pylist() == [0.002] * 4
    assert table["time"][0].as_py().isoformat() == "2026-01-31T12:00:00+00:00"
    assert table["replica"].to_pylist() == ["digits-0f0f0f-0"] * 4


def test_what_failed_says_why():
    failed = request("r1", record(1, rows=2).inputs, rows=2, code=500, failure=("internal", "no"))
    table = kit.table([record(1), failed])
    assert table["error"].to_pylist() == [None, "internal", "internal"]
    assert table["message"].to_pylist() == [None, "no", "no"]
    quiet = kit.table([record(1), failed], msgspec.structs.replace(encoder(), messages=False))
    assert quiet["error"].to_pylist() == [None, "internal", "internal"]
    assert quiet["message"].to_pylist() == [None] * 3
    assert quiet.schema.equals(table.schema)


def test_the_schema_is_the_same_whatever_came():
    unread = request("r1", {}, rows=0, code=400)
    table = kit.table([unread])
    assert table.schema.equals(encoder().table(record(1)).schema, check_metadata=True)
    assert table.num_rows == 1
    assert table["input.age"].to_pylist() == table["output.probability"].to_pylist() == [None]
    assert table.schema.field("input.income").metadata[b"argosy.place"] == b"1"


def test_features_hash_follows_the_inputs_alone():
    marks = kit.table([record(1), record(1, time=NOON + 5), record(2), record(1, country=b"DE")])["features"]
    first, again, other, country = marks.to_pylist()
    assert first == again
    assert len({first, other, country}) == 3


def test_hashed_columns_need_the_key():
    log = PayloadLog(hash=("country", "age"))
    columns = kit.table([record(1), record(1), record(2, country=b"DE")], encoder(log=log))
    one, again, other = columns["input.country"].to_pylist()
    assert one == again != other
    assert len(one) == 32
    assert columns["input.age"].type == pa.string()
    assert one != encoder(log=log, secret=b"z" * 32).table(record(1))["input.country"][0].as_py()


def test_the_key_is_made_once(tmp_path):
    made = encode.key(tmp_path / "key")
    assert encode.key(tmp_path / "key") == made
    assert len(made) == 32
    assert (tmp_path / "key").stat().st_mode & 0o077 == 0
    assert [path.name for path in tmp_path.iterdir()] == ["key"]


def one(datatype: str, shape: tuple[int, ...], *values, log: PayloadLog = PayloadLog()):  # noqa: B008
    signature = Signature(inputs=(TensorSpec(name="x", datatype=datatype, shape=shape),), outputs=())
    records = [request(f"r{n}", {"x": v}, rows=len(v)) for n, v in enumerate(values)]
    return kit.table(records, encoder(signature, log))


def test_tensors_of_any_shape():
    small, large = np.arange(6, dtype="f4").reshape(1, 2, 3), np.zeros((1, 50, 50), dtype="f4")
    table = one("FP32", (-1, -1, -1), small, large)
    assert table["input.x"].to_pylist() == [[0, 1, 2, 3, 4, 5], None]
    assert table["input.x.shape"].to_pylist() == [[2, 3], [50, 50]]
    assert table["input.x.profile"].to_pylist()[0] is None
    assert table["input.x.profile"].to_pylist()[1]["count"] == 2500


def test_large_tensors_are_kept_as_their_profile():
    table = one("UINT8", (-1, 224, 224, 3), np.full((2, 224, 224, 3), 7, dtype="u1"))
    assert (
        table["input.x.profile"].to_pylist()
        == [{"count": 150528, "missing": 0, "infinite": 0, "min": 7, "max": 7, "mean": 7, "std": 0}] * 2
    )


@pytest.mark.parametrize("datatype", ["BOOL", "UINT8", "UINT64", "INT8", "INT64", "FP16", "FP32", "FP64", "BF16"])
def test_every_number_keeps_its_value(datatype):
    if datatype == "BF16":
        values = np.array([0x3F80, 0x4000], dtype="<u2")
        assert one("BF16", (-1,), values)["input.x"].to_pylist() == [1.0, 2.0]
        return
    dtype = {"BOOL": "bool", "FP16": "f2", "FP32": "f4", "FP64": "f8"}.get(datatype) or datatype.lower()
    values = np.array([0, 1], dtype=dtype) if datatype != "UINT64" else np.array([0, 2**64 - 1], dtype="u8")
    assert one(datatype, (-1,), values)["input.x"].to_pylist() == values.tolist()
    assert one(datatype, (-1, 2), values[None])["input.x"].to_pylist() == [values.tolist()]


def test_profile_of_what_is_hardly_a_number():
    assert profile(np.array([np.nan, np.inf])) == {
        "count": 2, "missing": 1, "infinite": 1, "min": None, "max": None, "mean": None, "std": None,
    }  # fmt: skip
    assert profile(np.array([b"", b"ab"], dtype=object))["mean"] == 2


@given(st.binary(max_size=64), st.integers(1, 70))
def test_text_is_cut_at_a_letter_and_bytes_are_named(value, limit):
    shown = text(value, limit)
    try:
        whole = value.decode()
    except UnicodeDecodeError:
        assert shown.startswith(f"<{len(value)} bytes, sha256 ") or value.startswith(shown.encode())
        return
    assert whole.startswith(shown)
    assert len(shown.encode()) <= limit
    assert shown == whole or len(shown.encode()) > limit - 4
