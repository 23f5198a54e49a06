"""A detector's state as bytes, for a monitor that restarts: it goes on where it was."""

import zlib
from typing import Any

import msgspec
import numpy as np

from argosy.monitoring.drift.detector import DetectorState, start
from argosy.monitoring.drift.geometry import Geometry
from argosy.profiles.layout import Floats
from argosy.spec.errors import InvalidArgument

MAX_BYTES = 1 << 30


class _Kept(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Arrays as raw bytes, by name."""

    arrays: dict[str, bytes]


def dump(state: DetectorState) -> bytes:
    """Compressed; most cells are empty."""
    arrays = {name: np.ascontiguousarray(getattr(state, name)).tobytes() for name in DetectorState.__dataclass_fields__}
    return zlib.compress(msgspec.msgpack.encode(_Kept(arrays)), 1)


def load(where: Geometry, reference: Floats, data: bytes) -> DetectorState:
    """The state that was dumped for these columns. Raises InvalidArgument where it is broken or of other columns."""
    blank = start(where, reference)
    try:
        reader = zlib.decompressobj()
        kept = msgspec.msgpack.decode(reader.decompress(data, MAX_BYTES), type=_Kept)
    except (zlib.error, msgspec.DecodeError) as error:
        raise InvalidArgument(f"this drift state cannot be read: {error}") from error
    arrays: dict[str, Any] = {}
    for name in DetectorState.__dataclass_fields__:
        like = getattr(blank, name)
        raw = kept.arrays.get(name, b"")
        if len(raw) != like.nbytes:
            raise InvalidArgument(
                f"this drift state holds {len(raw)} bytes of '{name}' where {like.nbytes} are needed: it is of another "
                "model or reference; begin anew without it"
            )
        arrays[name] = np.frombuffer(raw, like.dtype).reshape(like.shape).copy()
    return DetectorState(**arrays)
