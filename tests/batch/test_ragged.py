"""Lists of many lengths for an axis that is free: rows are answered in groups of one length, each of them once."""

import numpy as np
import pyarrow as pa

from argosy.batch import columns, rows
from argosy.batch.fragment import File, Fragment
from argosy.spec.batch import BatchJob
from argosy.spec.signature import Signature, TensorSpec

SIGNATURE = Signature(
    inputs=(TensorSpec(name="x", datatype="INT64", shape=(-1, -1)),),
    outputs=(
        TensorSpec(name="sum", datatype="INT64", shape=(-1,)),
        TensorSpec(name="e", datatype="FP32", shape=(-1, -1)),
    ),
)


def test_every_length_is_answered():
    lists = [list(range(n % 4 + 1)) for n in range(50)]
    batch = pa.record_batch({"x": pa.array(lists, pa.list_(pa.int32()))})
    mapping = columns.plan(SIGNATURE, batch.schema, BatchJob(model="m", inputs=("i",), output="o"))

    def respond(part: pa.RecordBatch) -> pa.RecordBatch:
        x = mapping.feeds(part)["x"]
        return mapping.rows(part, [x.sum(axis=1), x.astype(np.float32)])

    fragment = Fragment(file=File("f", "parquet", 1, ""), index=0, position=())
    found = rows.answer(batch, respond, "fail", fragment, 0)
    answered = [row for part in found.out for row in part.to_pylist()]
    assert answered == [{"sum": sum(values), "e": values} for values in lists]
