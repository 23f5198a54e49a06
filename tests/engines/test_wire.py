import pytest
from hypothesis import given
from hypothesis import strategies as st

from argosy.engines.wire import fields, varint
from argosy.spec.errors import BadPackage


def encode(value: int) -> bytes:
    out = b""
    while value >= 0x80:
        out += bytes([value & 0x7F | 0x80])
        value >>= 7
    return out + bytes([value])


@given(st.integers(0, 2**64 - 1))
def test_varint_round_trip(value: int) -> None:
    data = encode(value)
    assert varint(data, 0, len(data)) == (value, len(data))


@given(st.lists(st.tuples(st.integers(1, 1000), st.binary(max_size=300))))
def test_fields_are_found_and_stepped_over(messages: list[tuple[int, bytes]]) -> None:
    data = b"".join(encode(number << 3 | 2) + encode(len(body)) + body for number, body in messages)
    assert [(one.number, data[one.start : one.end]) for one in fields(data, 0, len(data))] == messages


@given(st.binary(max_size=200))
def test_garbage_ends_or_is_refused(data: bytes) -> None:
    try:
        found = list(fields(data, 0, len(data)))
    except BadPackage:
        return
    assert all(one.end <= len(data) for one in found)


@pytest.mark.parametrize("data", [b"\x80", b"\xff" * 11, b"\x0a\x05abc", b"\x00\x01", b"\x0b"])
def test_refused(data: bytes) -> None:
    with pytest.raises(BadPackage):
        list(fields(data, 0, len(data)))
