"""What a request may contain, by the signature of its model, checked before anything is built of it.

Small bodies cannot contain much and are decoded as they come. For larger ones, and for compressed ones, the shapes they
declare are compared with the signature first, and their data with those shapes.
"""

from collections.abc import Sequence

import msgspec

from argosy.protocol.raw import elements
from argosy.spec.errors import InvalidArgument, PayloadTooLarge
from argosy.spec.signature import Signature, check_form

LARGE = 64 * 1024
"""Bodies of more bytes are decoded with bounds, and beside the event loop."""
MAX_ID = 64 * 1024
"""Characters of a request's id, which its answer repeats."""
RECORDED_ID = 1024
"""Characters of it in records and traces."""
MOST_STRINGS = 2**19
"""Elements of BYTES tensors in a compressed body: each is an object of 50 bytes, however few it took."""
MOST_TYPED = 2 * 1024 * 1024
"""Bytes of typed contents in a compressed gRPC message: a byte may become a number of eight."""

UNBOUNDED = 2**62


class Bounds(msgspec.Struct, frozen=True):
    """Of one model's requests. `rows`: the most on axis 0, where that is known to be too many for the queue. `wire`:
    the bytes that came, where they were compressed, else 0."""

    signature: Signature
    rows: int = 0
    wire: int = 0

    def check(self, name: str, datatype: str, shape: Sequence[int]) -> None:
        """Raise InvalidArgument for a tensor that is no input of the signature, PayloadTooLarge for one of more rows or
        strings than can be taken."""
        known = {spec.name: spec for spec in self.signature.inputs}
        if name not in known:
            raise InvalidArgument(f"unknown input '{name[:80]}'; the model takes {', '.join(sorted(known))}")
        count = elements(name, shape)
        check_form(known[name], datatype, tuple(shape))
        if self.rows and self.signature.batched and shape[0] > self.rows:
            raise PayloadTooLarge(f"input '{name}' has {shape[0]} rows; at most {self.rows} are taken at once")
        if datatype == "BYTES" and count > (most := strings_of(self.wire)):
            raise PayloadTooLarge(
                f"input '{name}' has {count} strings; at most {most} are taken in a compressed body: send it "
                "uncompressed, or in parts"
            )


def strings_of(wire: int) -> int:
    """The most elements of a BYTES tensor in a body that came in so many compressed bytes (0: not compressed)."""
    return max(MOST_STRINGS, wire // 3) if wire else UNBOUNDED


def typed_of(wire: int) -> int:
    """The most bytes of typed contents in a gRPC message that came in so many compressed bytes."""
    return max(MOST_TYPED, wire) if wire else UNBOUNDED
