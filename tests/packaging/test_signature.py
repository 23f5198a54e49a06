import numpy as np
import pytest

from argosy.packaging.examine import from_table, is_numeric
from argosy.packaging.table import Table
from argosy.spec.errors import InvalidArgument


def test_numbers_become_one_tensor_that_names_its_columns():
    (x,) = from_table(Table("frame", {"a": np.array([1, 2]), "b": np.array([0.5, np.nan])}))
    assert (x.name, x.datatype, x.shape, x.columns, x.nullable) == ("x", "FP64", (-1, 2), ("a", "b"), True)
    (x,) = from_table(Table("frame", {"a": np.array([1], "f4")}))
    assert x.datatype == "FP32"


def test_several_kinds_become_one_tensor_each():
    table = Table(
        "frame",
        {"a": np.array([1, 2]), "s": np.array(["u", None], dtype=object), "ok": np.array([True, False])},
    )
    assert not is_numeric(table)
    a, s, ok = from_table(table)
    assert [(spec.datatype, spec.shape, spec.nullable) for spec in (a, s, ok)] == [
        ("INT64", (-1,), False),
        ("BYTES", (-1,), True),
        ("BOOL", (-1,), False),
    ]


def test_arrays_and_named_tensors_keep_their_axes():
    (x,) = from_table(Table("matrix", {"": np.zeros((4, 3, 2), "i4")}))
    assert (x.name, x.datatype, x.shape) == ("x", "INT32", (-1, 3, 2))
    (image,) = from_table(Table("tensors", {"image": np.zeros((4, 8), "u1")}))
    assert (image.name, image.datatype) == ("image", "UINT8")


def test_dtypes_without_a_datatype_are_refused():
    with pytest.raises(InvalidArgument, match="complex"):
        from_table(Table("matrix", {"": np.zeros(3, complex)}))
