"""How Parquet is encoded."""

import pyarrow as pa
from pyarrow import parquet

from argosy.batch.sink import formats
from argosy.batch.sink.formats import repeating


def test_all_but_floats_have_dictionaries(tmp_path):
    schema = pa.schema(
        [
            pa.field("id", pa.int64()),
            pa.field("score", pa.float32()),
            pa.field("p", pa.list_(pa.float64(), 2)),
            pa.field("words", pa.list_(pa.string())),
            pa.field("s", pa.struct([pa.field("a", pa.float32()), pa.field("b", pa.string())])),
        ]
    )
    assert repeating(schema) == ["id", "words.list.element", "s.b"]
    rows = [{"id": 1, "score": 0.5, "p": [0.0, 1.0], "words": ["a", "b"], "s": {"a": 2.0, "b": "c"}}] * 4
    formats.write("parquet", iter(pa.Table.from_pylist(rows, schema).to_batches()), schema, tmp_path / "x.parquet", {})
    assert parquet.read_table(tmp_path / "x.parquet").to_pylist() == rows
    group = parquet.ParquetFile(tmp_path / "x.parquet").metadata.row_group(0)
    columns = [group.column(number) for number in range(group.num_columns)]
    assert [column.path_in_schema for column in columns if column.has_dictionary_page] == repeating(schema)
