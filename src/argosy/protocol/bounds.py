"""What a request may contain, by the signature of its model, checked before anything is built of it.

Small bodies cannot contain much and are decoded as they come. For larger ones, and for compressed ones, the shapes they
declare are compared with the signature first, and their data with those shapes.
"""

from collections.abc import Sequence

import msgspec

from argosy.protocol.raw import elements
from argosy.spec.errors import InvalidArgument, PayloadTooLarge
from argosy.spec.matching import fitting_shape, spec_of
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
    the bytes that came, where they were compressed, else 0. `strict`: what only `matching` would fit is refused."""

    signature: Signature
    rows: int = 0
    wire: int = 0
    strict: bool = False

    @property
    def tensors(self) -> int:
        """The most that a request can have: inputs, or the columns of the only one."""
        inputs = self.signature.inputs
        return len(inputs) if self.strict or len(inputs) != 1 else max(1, len(inputs[0].columns))

    def check(self, name: str, datatype: str, shape: Sequence[int], *, many: bool) -> None:
        """Raise InvalidArgument for a tensor, alone or one of `many`, that is no input of the signature,
        PayloadTooLarge for one of more rows or strings than can be taken."""
        spec = spec_of(self.signature, name, many=many, strict=self.strict)
        if spec is None:
            known = ", ".join(sorted(one.name for one in self.signature.inputs))
            raise InvalidArgument(f"unknown input '{name[:80]}'; the model takes {known}")
        count = elements(name, shape)
        if self.strict:
            check_form(spec, datatype, tuple(shape))
        else:
            shape = fitting_shape(spec, datatype, tuple(shape))
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
