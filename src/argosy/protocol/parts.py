"""What a large gRPC message holds, counted on the wire: python-protobuf would build it all before anybody could look.

Two bytes may become a message of a hundred, a string of fifty, or a number of eight.
"""

from typing import Any, cast

from argosy.protocol.bounds import strings_of, typed_of
from argosy.spec.errors import InvalidArgument, PayloadTooLarge

MOST_PARTS = 4096
"""Tensors, outputs asked for, parameters, raw contents and unknown fields of a request, together."""
MOST_STRINGS = 2**22
"""Elements of typed BYTES contents."""
MOST_SHAPE = 512
"""Bytes of a shape: 32 axes need 320."""

_PART, _SHAPE, _TYPED, _STRING = "part", "shape", "typed", "string"
_Schema = dict[int, Any]
_CONTENTS: _Schema = dict.fromkeys(range(1, 8), _TYPED) | {8: _STRING}
_INPUT: _Schema = {1: None, 2: None, 3: _SHAPE, 4: _PART, 5: _CONTENTS}
_REQUEST: _Schema = {1: None, 2: None, 3: None, 4: _PART, 5: _INPUT, 6: {1: None, 2: _PART}, 7: _PART}


def count(data: bytes, wire: int) -> None:
    """Raise PayloadTooLarge for a ModelInferRequest of more parts than a request needs, or than it may hold that came
    in `wire` compressed bytes (0: not compressed); InvalidArgument for one that is cut or has groups."""
    _Count(min(MOST_STRINGS, strings_of(wire)), typed_of(wire)).walk(data, 0, len(data), _REQUEST)


class _Count:
    def __init__(self, strings: int, typed: int) -> None:
        self._left = {_PART: MOST_PARTS, _STRING: strings, _TYPED: typed}

    def walk(self, data: bytes, at: int, end: int, schema: _Schema) -> None:
        """The fields of one message."""
        while at < end:
            tag, at = _varint(data, at, end)
            kind = schema.get(tag >> 3, _PART)
            wire, start = tag & 7, at
            if wire == 2:
                size, start = _varint(data, at, end)
                at = start + size
            elif wire == 0:
                _, at = _varint(data, at, end)
            elif wire in (1, 5):
                at += 8 if wire == 1 else 4
            else:
                raise InvalidArgument("the message has a group; no message of this protocol has")
            if at > end:
                raise InvalidArgument("the message is cut short")
            if type(kind) is dict:
                self._take(_PART, 1)
                if wire == 2:
                    self.walk(data, start, at, cast("_Schema", kind))
            elif kind is _SHAPE and at - start > MOST_SHAPE:
                raise InvalidArgument(f"a shape of {at - start} bytes; at most {MOST_SHAPE} are taken")
            elif kind is _TYPED and wire == 2:
                self._take(_TYPED, at - start)
            elif kind is not None:
                self._take(_STRING if kind is _STRING else _PART, 1)

    def _take(self, kind: str, count: int) -> None:
        self._left[kind] -= count
        if self._left[kind] < 0:
            raise PayloadTooLarge(_MESSAGES[kind])


_MESSAGES = {
    _PART: f"the message has more than {MOST_PARTS} tensors, parameters and unpacked or unknown fields",
    _STRING: "the message has more strings than are taken at once; use raw_input_contents, or several requests",
    _TYPED: "the compressed message has more typed contents than are taken; use raw_input_contents, or no compression",
}


def _varint(data: bytes, at: int, end: int) -> tuple[int, int]:
    value = shift = 0
    while at < end and shift < 70:
        byte = data[at]
        at += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, at
        shift += 7
    raise InvalidArgument("the message is cut short")
