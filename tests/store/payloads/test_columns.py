import pytest
from hypothesis import given
from hypothesis import strategies as st

from argosy.spec.errors import InvalidArgument
from argosy.spec.payload import PayloadLog
from argosy.spec.signature import Signature, TensorSpec
from argosy.store.payloads.columns import columns
from tests.store.payloads.kit import TABLE


def signature(*inputs: TensorSpec, batched: bool = True) -> Signature:
    return Signature(inputs=inputs, outputs=(), batched=batched)


def test_features_have_a_column_each():
    assert [(c.name, c.form, c.place) for c in columns(TABLE)] == [
        ("input.age", "value", 0),
        ("input.income", "value", 1),
        ("input.country", "value", -1),
        ("output.label", "value", -1),
        ("output.probability", "fixed", -1),
    ]


def test_the_form_follows_the_shape():
    shapes = {"a": (-1,), "b": (-1, 8, 8), "c": (-1, -1), "d": (-1, 224, 224, 3)}
    found = columns(signature(*(TensorSpec(name=n, datatype="FP32", shape=s) for n, s in shapes.items())))
    assert [c.form for c in found] == ["value", "fixed", "list", "profile"]


def test_a_model_without_batches_has_one_row():
    spec = TensorSpec(name="x", datatype="FP32", shape=(4,), columns=("a", "b", "c", "d"))
    assert [c.name for c in columns(signature(spec, batched=False))] == ["input.a", "input.b", "input.c", "input.d"]


def test_hidden_columns():
    found = columns(TABLE, PayloadLog(redact=("income",), hash=("country",)))
    assert [(c.name, c.hashed) for c in found if c.side == "input"] == [("input.age", False), ("input.country", True)]
    assert next(c.name for c in columns(TABLE, PayloadLog(redact=("x",)))) == "input.country"
    with pytest.raises(InvalidArgument, match="'incme' is to be hidden, and is no column"):
        columns(TABLE, PayloadLog(redact=("incme",)))
    with pytest.raises(InvalidArgument, match="in redact and in hash"):
        PayloadLog(redact=("a",), hash=("a",))


@given(st.lists(st.text(max_size=8), min_size=1, max_size=20, unique=True))
def test_every_name_can_be_asked_for_without_regard_to_case(names):
    spec = TensorSpec(name="x", datatype="FP32", shape=(-1, len(names)), columns=tuple(names))
    found = [c.name.lower() for c in columns(signature(spec))]
    assert len(set(found)) == len(names)
    assert all(name.isprintable() for name in found)
