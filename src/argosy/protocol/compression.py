"""gzip and deflate bodies, with a bound on what they may become."""

import zlib

from argosy.spec.errors import InvalidArgument, PayloadTooLarge, UnsupportedEncoding

_WBITS = {"gzip": 31, "x-gzip": 31, "deflate": 15}
FREE, RATIO = 4 * 1024 * 1024, 8
"""A body may become 4 MiB, or eight times what it was: those of honest callers shrink to a half or a fifth."""
SMALLEST = 1024
"""Answers below this many bytes are not worth compressing."""


def decompress(body: bytes, encoding: str, limit: int) -> bytes:
    """The body, decompressed to at most `limit` bytes, and to no more than `FREE` or `RATIO` times its size. Whatever
    it would become, no more than that is made of it. Raises UnsupportedEncoding, InvalidArgument, PayloadTooLarge.
    """
    name = encoding.strip().lower()
    if name in ("", "identity"):
        return body
    if name not in _WBITS:
        raise UnsupportedEncoding(f"Content-Encoding '{encoding[:40]}' is not supported; use gzip, deflate or none")
    engine = zlib.decompressobj(_WBITS[name])
    most = min(limit, max(FREE, RATIO * len(body)))
    try:
        data = engine.decompress(body, most + 1)
    except zlib.error as error:
        raise InvalidArgument(f"the body is not valid {name}: {error}") from None
    if len(data) > most:
        more = "" if most == limit else f": {RATIO} times its size is taken; send it uncompressed"
        raise PayloadTooLarge(f"the body is larger than {most} bytes when decompressed{more}")
    if not engine.eof or engine.unused_data:
        raise InvalidArgument(f"the {name} body is cut short or has bytes after its end")
    return data


def choose(accepted: str | None) -> str | None:
    """The encoding to answer in, from an Accept-Encoding header: gzip or deflate, unless its q is 0."""
    if not accepted:
        return None
    for item in accepted.lower().split(","):
        name, _, rest = item.strip().partition(";")
        if name.strip() in ("gzip", "deflate") and rest.replace(" ", "") not in ("q=0", "q=0.0", "q=0.00", "q=0.000"):
            return name.strip()
    return None


def compress(body: bytes | bytearray, encoding: str) -> bytes:
    """The body as gzip or deflate, at the fastest level: the link is rarely slower than that."""
    engine = zlib.compressobj(1, zlib.DEFLATED, _WBITS[encoding])
    return engine.compress(body) + engine.flush()


FIRST_BYTES = (0x1F, 0x78)
"""How a gRPC message may begin that was left compressed."""


def of_message(data: bytes) -> str | None:
    """The encoding of a gRPC message that was left compressed. No message of the protocol begins as gzip does, with
    field 3 of a wire type that there is not, nor as zlib does, with field 15."""
    if data[:2] == b"\x1f\x8b":
        return "gzip"
    return "deflate" if data[:1] == b"\x78" and int.from_bytes(data[:2], "big") % 31 == 0 else None
