"""What a gRPC message holds is counted before it is parsed."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from argosy.protocol import grpc
from argosy.spec.errors import ArgosyError, InvalidArgument, PayloadTooLarge
from attack.inputs import ROW, field, message

MANY = grpc.MOST_PARTS + 1


@pytest.mark.parametrize(
    "data",
    [
        field(5, b"") * MANY,
        field(6, b"") * MANY,
        field(7, b"") * MANY,
        field(4, b"") * MANY,
        field(5, field(4, b"") * MANY),
        field(6, field(2, b"") * MANY),
        field(5, field(5, b"\x18\x01" * MANY)),
        field(5, field(3, b"") * 2 + field(9, b"") * MANY),
        b"\x78\x01" * MANY,
    ],
)
def test_parts_are_counted(data):
    with pytest.raises(PayloadTooLarge, match="more than"):
        grpc.count_parts(data, 0)


@pytest.mark.parametrize("data", [b"\x7b" * 10, field(1, b"m") + b"\x2b\x2c", field(5, b"\x0b")])
def test_groups_are_refused(data):
    with pytest.raises(InvalidArgument, match="group"):
        grpc.count_parts(data, 0)


def test_what_a_compressed_message_may_become():
    grpc.count_parts(message("m", "INT64", [1], field(3, bytes(2**21))), 1000)
    with pytest.raises(PayloadTooLarge, match="no compression"):
        grpc.count_parts(message("m", "INT64", [1], field(3, bytes(2**21 + 1))), 1000)
    with pytest.raises(PayloadTooLarge, match="strings"):
        grpc.count_parts(message("m", "BYTES", [1], field(8, b"") * (2**19 + 1)), 1000)
    grpc.count_parts(message("m", "BYTES", [1], field(8, b"") * (2**19 + 1)), 0)
    with pytest.raises(InvalidArgument, match="shape"):
        grpc.count_parts(message("m", "FP32", [0] * 1000, b""), 0)


@given(st.one_of(st.binary(max_size=200), st.integers(0, len(ROW)).map(lambda cut: ROW[:cut])))
def test_any_bytes_are_counted_or_refused(data):
    """And what protobuf can read of the protocol's own messages is counted."""
    try:
        grpc.count_parts(data, 0)
    except ArgosyError:
        if data in (ROW, b""):
            raise


def test_a_message_of_a_client_is_counted():
    grpc.count_parts(ROW, 0)
    assert grpc.parse(grpc.InferRequest, ROW).model_name == "rows"
