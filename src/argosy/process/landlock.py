"""Landlock: what this process, and what it starts, may still open, connect to and signal; see landlock(7)."""

import ctypes
import os
import stat
import struct
import sys
from collections.abc import Iterable

_CREATE, _ADD, _RESTRICT = 444, 445, 446
_VERSION = 1
_PATH, _PORT = 1, 2
_EXECUTE, _WRITE_FILE, _READ_FILE, _READ_DIR, _TRUNCATE, _IOCTL_DEV = 1 << 0, 1 << 1, 1 << 2, 1 << 3, 1 << 14, 1 << 15
_NEVER_MADE = 1 << 6 | 1 << 11 | 1 << 12
"""Devices; and symbolic links, which would lead whoever connects to a socket of this process to another one."""
_ALL = {1: (1 << 13) - 1, 2: (1 << 14) - 1, 3: (1 << 15) - 1, 5: (1 << 16) - 1}
_OF_FILES = _EXECUTE | _WRITE_FILE | _READ_FILE | _TRUNCATE | _IOCTL_DEV
_READ = _EXECUTE | _READ_FILE | _READ_DIR
_BIND_TCP, _CONNECT_TCP = 1, 2
_SCOPES = 3
"""Abstract Unix sockets, and signals, of processes outside."""
FULL = 6
"""The first version that bounds files, TCP, devices, signals and abstract sockets."""


def version() -> int:
    """The version of the kernel's Landlock; 0 where there is none."""
    return max(0, _call(_CREATE, None, 0, _VERSION)) if sys.platform == "linux" else 0


def restrict(
    reads: Iterable[str],
    writes: Iterable[str],
    devices: Iterable[str],
    *,
    network: bool,
    ports: Iterable[int] = (),
    listens: Iterable[int] = (),
) -> int:
    """Allow this thread, and all that comes of it, to read below `reads`, to read and write below `writes`, to use
    `devices`; TCP only with `network`, apart from connecting to `ports` and being bound to `listens`. Paths that are
    not there are left out.

    Needs no_new_privs. The version that it is done with; 0: not done. Raises OSError.
    """
    abi = version()
    if not abi:
        return 0
    handled = _ALL[max(each for each in _ALL if each <= abi)]
    tcp = _BIND_TCP | _CONNECT_TCP if abi >= 4 and not network else 0
    ruleset = struct.pack("QQQ", handled, tcp, _SCOPES if abi >= FULL else 0)[: 8 if abi < 4 else 16 if abi < 6 else 24]
    fd = _done(_call(_CREATE, ruleset, len(ruleset), 0), "landlock_create_ruleset")
    try:
        for path in reads:
            _allow(fd, path, _READ & handled)
        for path in writes:
            _allow(fd, path, handled & ~(_EXECUTE | _NEVER_MADE | _IOCTL_DEV))
        for path in devices:
            _allow(fd, path, (_READ_FILE | _READ_DIR | _WRITE_FILE | _TRUNCATE | _IOCTL_DEV) & handled)
        rules = [(_CONNECT_TCP, each) for each in ports] + [(_BIND_TCP, each) for each in listens]
        for rule in (struct.pack("QQ", *each) for each in rules if tcp):
            _done(_call(_ADD, fd, _PORT, rule, 0), "landlock_add_rule")
        _done(_call(_RESTRICT, fd, 0), "landlock_restrict_self")
    finally:
        os.close(fd)
    return abi


def _allow(ruleset: int, path: str, access: int) -> None:
    try:
        fd = os.open(path, os.O_PATH | os.O_CLOEXEC)
    except OSError:
        return
    try:
        if not stat.S_ISDIR(os.fstat(fd).st_mode):
            access &= _OF_FILES
        _done(_call(_ADD, ruleset, _PATH, struct.pack("=Qi", access, fd), 0), f"landlock_add_rule {path}")
    finally:
        os.close(fd)


def _call(number: int, *arguments: int | bytes | None) -> int:
    libc = ctypes.CDLL(None, use_errno=True)
    libc.syscall.restype = ctypes.c_long
    return int(libc.syscall(ctypes.c_long(number), *map(_argument, arguments)))


def _argument(value: int | bytes | None) -> object:
    return ctypes.c_long(value) if isinstance(value, int) else value


def _done(result: int, what: str) -> int:
    if result < 0:
        number = ctypes.get_errno()
        raise OSError(number, f"{what}: {os.strerror(number)}")
    return result
