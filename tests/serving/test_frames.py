"""Frames are read as they were packed, and nothing else is read: cut, altered and hostile ones are refused."""

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from argosy.serving import frames
from argosy.serving.frames import HEAD, FrameTensor, Hello, Orders
from argosy.spec.errors import InvalidArgument
from argosy.spec.tensor import NUMPY, Array
from argosy.store.payloads.record import REQUEST, Rows

NUMBERS = [name for name in NUMPY if name != "BYTES"]
HELLO = Hello(replica="r", endpoint="digits", version="3", package="/p")


def parts(buffers: list[memoryview | bytes]) -> tuple[bytes, bytes]:
    data = b"".join(buffers)
    head, body = frames.sizes(data[: HEAD.size])
    assert len(data) == HEAD.size + head + body
    return data[HEAD.size : HEAD.size + head], data[HEAD.size + head :]


def requests(rows: list[int]) -> Array:
    table = np.zeros(len(rows), REQUEST)
    table["rows"], table["weight"], table["code"] = rows, 1, 200
    table["time"] = np.arange(len(rows)) + 10**18
    return table


@st.composite
def tensors(draw: st.DrawFn, rows: int) -> Array:
    inner = draw(hnp.array_shapes(min_dims=0, max_dims=2, min_side=0, max_side=3))
    if draw(st.booleans()):
        size = int(np.prod((rows, *inner)))
        out = np.empty(size, object)
        out[:] = draw(st.lists(st.binary(max_size=9), min_size=size, max_size=size))
        return out.reshape(rows, *inner)
    return draw(hnp.arrays(NUMPY[draw(st.sampled_from([n for n in NUMBERS if n != "BF16"]))], (rows, *inner)))


def name_of(array: Array) -> str:
    return next(name for name, dtype in NUMPY.items() if dtype == array.dtype)


@given(st.data())
def test_what_is_packed_is_read(data: st.DataObject):
    rows = data.draw(st.lists(st.integers(0, 4), min_size=1, max_size=5))
    table = requests(rows)
    ids = data.draw(st.lists(st.text() | st.binary(), min_size=len(rows), max_size=len(rows)))
    made = {side: data.draw(tensors(sum(rows))) for side in ("input", "output")}
    failures = [("internal", str(n)) for n in rows] if data.draw(st.booleans()) else []
    frame = frames.encode_block(table, ids, [(side, side, name_of(a), a) for side, a in made.items()], failures)
    found = frames.read(*parts(frame))
    assert isinstance(found, Rows)
    assert found.requests.tobytes() == table.tobytes()
    assert list(found.failures) == failures
    assert found.ids == [one if isinstance(one, str) else one.decode("latin-1") for one in ids]
    for side, arrays in (("input", found.inputs), ("output", found.outputs)):
        assert arrays[side].shape == made[side].shape
        assert arrays[side].dtype == made[side].dtype
        if made[side].dtype == object:
            assert arrays[side].tolist() == made[side].tolist()
        else:
            assert arrays[side].tobytes() == made[side].tobytes()


@given(st.data())
def test_what_is_cut_or_altered_is_refused_or_is_still_a_frame(data: st.DataObject):
    x = np.arange(12, dtype="f4").reshape(3, 4)
    text = np.array([b"a", b"bb", b""], object)
    tensor = [("input", "x", "FP32", x), ("output", "t", "BYTES", text)]
    head, body = parts(frames.encode_block(requests([1, 2]), ["a", "b"], tensor))
    which = data.draw(st.sampled_from(["cut head", "cut body", "head", "body"]))
    if which.startswith("cut"):
        whole = head if which == "cut head" else body
        end = data.draw(st.integers(0, len(whole) - 1))
        head, body = (head[:end], body) if which == "cut head" else (head, body[:end])
        with pytest.raises(InvalidArgument):
            frames.read(head, body)
        return
    altered = bytearray(head if which == "head" else body)
    altered[data.draw(st.integers(0, len(altered) - 1))] = data.draw(st.integers(0, 255))
    try:
        found = frames.read(bytes(altered) if which == "head" else head, bytes(altered) if which == "body" else body)
    except InvalidArgument:
        return
    assert isinstance(found, Rows)
    total = int(found.requests["rows"].sum())
    assert len(found.ids) == len(found.requests)
    assert all(len(array) == total for side in (found.inputs, found.outputs) for array in side.values())


@given(st.binary(max_size=200), st.binary(max_size=200))
def test_noise_is_refused(head: bytes, body: bytes):
    with pytest.raises(InvalidArgument):
        frames.read(head, body)


@given(st.binary(min_size=HEAD.size, max_size=HEAD.size))
def test_what_does_not_begin_as_a_frame_is_refused(prefix: bytes):
    with pytest.raises(InvalidArgument):
        frames.sizes(prefix)


@pytest.mark.parametrize("message", [HELLO, Orders(), Orders(sample=0.25, errors=False, profiles=True)])
def test_messages_are_read_as_they_were_told(message: Hello | Orders):
    assert frames.read(*parts([frames.encode(message)])) == message


def hostile(part: FrameTensor, size: int = 8, **more: object) -> None:
    table = requests([2])
    for name, value in more.items():
        table[name] = value
    head = msgspec.msgpack.encode(("block", 1, ["a"], [part]))
    with pytest.raises(InvalidArgument):
        frames.read(head, table.tobytes() + bytes(size))


def test_sizes_that_do_not_fit_are_refused():
    good = FrameTensor("input", "x", "FP32", (2, 1), 8)
    for part in (
        FrameTensor("input", "x", "FP32", (3, 1), 8),
        FrameTensor("input", "x", "FP32", (2, 2**40), 8),
        FrameTensor("input", "x", "FP32", (2, -1), 8),
        FrameTensor("input", "x", "BYTES", (2, -1), 8),
        FrameTensor("input", "x", "FP32", (), 8),
        FrameTensor("input", "x", "FP8", (2, 1), 8),
        FrameTensor("input", "x", "FP32", (2, 1), -8),
        FrameTensor("input", "x", "FP32", (2, 1), 2**40),
    ):
        hostile(part)
    hostile(good, size=16)
    hostile(good, rows=-2)
    hostile(good, time=-1)
    hostile(good, weight=np.nan)
    with pytest.raises(InvalidArgument):
        frames.sizes(HEAD.pack(b"AGR1", 1, 2**31))
