"""What workers print, kept within bounds from outside: its beginning, its end, and a line on what is left out.

A worker appends to its log by itself, so that nothing it has printed depends on whether it, or the driver, is killed.
"""

import os
import re
from contextlib import suppress
from pathlib import Path

MOST = 4 << 20
HEAD = 256 << 10
TAIL = 1 << 20
"""Bytes of a log past which it is cut, and those that are kept of its beginning and of its end."""

_SAID = re.compile(rb"\n\[\.\.\. ([0-9,]+) bytes [^\n]*\n")


def trim(log: Path, most: int = MOST, head: int = HEAD, tail: int = TAIL) -> bool:
    """Cut the middle out of a log with more than `most` bytes, in place; whether there was anything to cut. `most` is
    larger than `head` and `tail` together. What is printed in the very moment of the cut may be lost and not counted.
    """
    with suppress(OSError):
        if log.stat().st_size > most:
            file = os.open(log, os.O_RDWR | os.O_APPEND)
            try:
                _cut(file, head, tail)
            finally:
                os.close(file)
            return True
    return False


def _cut(file: int, head: int, tail: int) -> None:
    earlier = _SAID.match(os.pread(file, 200, head))
    size = os.fstat(file).st_size
    end = os.pread(file, tail, size - tail)
    end = end[end.find(b"\n") + 1 :]
    left_out = size - head - len(end)
    if earlier is not None:
        left_out += int(earlier[1].replace(b",", b"")) - len(earlier[0])
    os.ftruncate(file, head)
    os.write(file, f"\n[... {left_out:,} bytes are left out here ...]\n".encode() + end)
