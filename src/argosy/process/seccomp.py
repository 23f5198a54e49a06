"""seccomp: the system calls that a process of ours may make no more. x86_64 and aarch64; see seccomp(2).

The kernel remembers which calls a filter allows whatever their arguments are, so that those cost nothing.
"""

import ctypes
import errno
import os
import platform
import struct
import tomllib
from collections.abc import Sequence
from itertools import chain
from pathlib import Path

_SECCOMP = {"x86_64": 317, "aarch64": 277}
_ARCH = {"x86_64": 0xC000003E, "aarch64": 0xC00000B7}
_COLUMN = {"x86_64": 0, "aarch64": 1}
_ABSENT = -1

_CALLS: dict[str, dict[str, list[int]]] = tomllib.loads(Path(__file__).with_name("syscalls.toml").read_text("utf-8"))
_CLONE, _CLONE3, _IOCTL, _SOCKET, _SOCKETPAIR = (56, 220), (435, 435), (16, 29), (41, 198), (53, 199)
_NEW_NAMESPACES = 0x7E020000
_CLONE_THREAD = 0x10000
_IOCTLS = (0x5412, 0x541C, 0x40086602, 0x40046602, 0x401C5820, 0x40087602, 0x40806685, 0x800C6613)
"""TIOCSTI and TIOCLINUX put keys into terminals; the others change the flags, version, verity and encryption of a file
that is open only to be read: FS_IOC_SETFLAGS (of 64 and 32 bits), FSSETXATTR, SETVERSION, ENABLE_VERITY and
SET_ENCRYPTION_POLICY."""
_UNIX, _INET, _INET6, _NETLINK, _ROUTE = 1, 2, 10, 16, 0
_STREAM, _DGRAM, _SEQPACKET, _TYPE = 1, 2, 5, 0xF

_LOAD, _EQUAL, _ABOVE, _ANY, _AND, _RETURN = 0x20, 0x15, 0x35, 0x45, 0x54, 0x06
_NUMBER_AT, _ARCH_AT, _FIRST_AT, _SECOND_AT, _THIRD_AT = 0, 4, 16, 24, 32
_AT = (_FIRST_AT, _SECOND_AT)
_ALLOW, _REFUSE, _UNKNOWN, _KILL = 0x7FFF0000, 0x00050000 | errno.EPERM, 0x00050000 | errno.ENOSYS, 0x80000000
_X32 = 0x40000000

Code = list[tuple[int, int, int, int]]


def supported() -> bool:
    """Whether filters can be made for this machine, and its kernel takes any: a container may refuse it."""
    if platform.machine() not in _ARCH or os.uname().sysname != "Linux":
        return False
    libc = ctypes.CDLL(None, use_errno=True)
    libc.syscall.restype = ctypes.c_long
    get_action_avail, kill = 2, ctypes.c_uint32(_KILL)
    number = ctypes.c_long(_SECCOMP[platform.machine()])
    return libc.syscall(number, ctypes.c_long(get_action_avail), ctypes.c_long(0), ctypes.byref(kill)) == 0


def restrict(*, unix: bool, inet: bool, streams: bool, subprocesses: bool, attributes: bool) -> None:
    """Refuse, for every thread of this process and all that comes of it, the calls that no model needs; new sockets,
    apart from Unix streams with `unix`, Internet ones with `inet`, of them TCP alone with `streams`; new processes
    unless `subprocesses`; and what the kernel allows against others of the same user, by path or number, unless
    `attributes`. Needs no_new_privs. Raises OSError."""
    allowed = {"unix": unix, "inet": inet, "streams": streams, "subprocesses": subprocesses, "attributes": attributes}
    _install(program(platform.machine(), **allowed))


def program(machine: str, *, unix: bool, inet: bool, streams: bool, subprocesses: bool, attributes: bool) -> bytes:
    """The filter, as the kernel reads it."""
    column = _COLUMN[machine]
    code: Code = [(_LOAD, 0, 0, _ARCH_AT), (_EQUAL, 1, 0, _ARCH[machine]), _answer(_KILL), (_LOAD, 0, 0, _NUMBER_AT)]
    code += [(_ABOVE, 0, 1, _X32), _answer(_REFUSE)]
    never = [_CALLS["never"], {} if subprocesses else _CALLS["fork"], {} if attributes else _CALLS["attributes"]]
    for numbers in chain.from_iterable(each.values() for each in never):
        if numbers[column] != _ABSENT:
            code += [(_EQUAL, 0, 1, numbers[column]), _answer(_REFUSE)]
    own = _CALLS["own"] | ({} if attributes else _CALLS["cores"]) | ({} if subprocesses else _CALLS["threads"])
    for *numbers, argument in own.values():
        code += _when(numbers[column], _either(_AT[argument], (0,), then=_ALLOW, other=_REFUSE))
    # Its flags lie in memory, where a filter cannot look: whoever is told that it is not there takes clone.
    code += [(_EQUAL, 0, 1, _CLONE3[column]), _answer(_UNKNOWN)]
    code += _when(_CLONE[column], _clone(subprocesses))
    code += _when(_IOCTL[column], _either(_SECOND_AT, _IOCTLS, then=_REFUSE, other=_ALLOW))
    code += _when(_SOCKETPAIR[column], _typed((_STREAM, _SEQPACKET)))
    code += _when(_SOCKET[column], _socket(unix, inet, streams))
    code += [_answer(_ALLOW)]
    return b"".join(struct.pack("HBBI", *each) for each in code)


def _answer(value: int) -> tuple[int, int, int, int]:
    return (_RETURN, 0, 0, value)


def _when(number: int, then: Code) -> Code:
    return [(_EQUAL, 0, len(then), number), *then]


def _clone(subprocesses: bool) -> Code:
    code: Code = [(_LOAD, 0, 0, _FIRST_AT), (_ANY, 0, 1, _NEW_NAMESPACES), _answer(_REFUSE)]
    if not subprocesses:
        code += [(_ANY, 1, 0, _CLONE_THREAD), _answer(_REFUSE)]
    return [*code, _answer(_ALLOW)]


def _either(at: int, values: Sequence[int], *, then: int, other: int) -> Code:
    code: Code = [(_LOAD, 0, 0, at)]
    for value in values:
        code += [(_EQUAL, 0, 1, value), _answer(then)]
    return [*code, _answer(other)]


def _typed(types: Sequence[int]) -> Code:
    code = _either(_SECOND_AT, types, then=_ALLOW, other=_REFUSE)
    return [code[0], (_AND, 0, 0, _TYPE), *code[1:]]


def _socket(unix: bool, inet: bool, streams: bool) -> Code:
    code: Code = [(_LOAD, 0, 0, _FIRST_AT)]
    for family, types in (
        (_UNIX, (_STREAM,) if unix else ()),
        *((family, (_STREAM,) if streams else (_STREAM, _DGRAM)) for family in ((_INET, _INET6) if inet else ())),
    ):
        if types:
            code += _when(family, _typed(types))
    if inet and not streams:  # by this libraries find the addresses of the machine
        code += _when(_NETLINK, _either(_THIRD_AT, (_ROUTE,), then=_ALLOW, other=_REFUSE))
    return [*code, _answer(_REFUSE)]


class _Program(ctypes.Structure):
    _fields_ = (("len", ctypes.c_ushort), ("filter", ctypes.c_char_p))


def _install(code: bytes) -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    libc.syscall.restype = ctypes.c_long
    filters = _Program(len(code) // 8, code)
    set_filter, all_threads = 1, 1
    number = ctypes.c_long(_SECCOMP[platform.machine()])
    if libc.syscall(number, ctypes.c_long(set_filter), ctypes.c_long(all_threads), ctypes.byref(filters)):
        raise OSError(ctypes.get_errno(), f"seccomp: {os.strerror(ctypes.get_errno())}")
