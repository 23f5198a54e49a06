"""seccomp: the system calls that a process of ours may make no more. x86_64 and aarch64; see seccomp(2).

The kernel remembers which calls a filter allows whatever their arguments are, so that those cost nothing.
"""

import ctypes
import errno
import os
import platform
import struct
from collections.abc import Sequence

_SECCOMP = {"x86_64": 317, "aarch64": 277}
_ARCH = {"x86_64": 0xC000003E, "aarch64": 0xC00000B7}
_COLUMN = {"x86_64": 0, "aarch64": 1}
_ABSENT = -1

_NEVER: dict[str, tuple[int, int]] = {
    "acct": (163, 89),
    "add_key": (248, 217),
    "adjtimex": (159, 171),
    "bpf": (321, 280),
    "chroot": (161, 51),
    "clock_adjtime": (305, 266),
    "clock_settime": (227, 112),
    "delete_module": (176, 106),
    "fanotify_init": (300, 262),
    "finit_module": (313, 273),
    "fsconfig": (431, 431),
    "fsmount": (432, 432),
    "fsopen": (430, 430),
    "fspick": (433, 433),
    "init_module": (175, 105),
    "inotify_add_watch": (254, 27),
    "io_uring_enter": (426, 426),
    "io_uring_register": (427, 427),
    "io_uring_setup": (425, 425),
    "ioperm": (173, _ABSENT),
    "iopl": (172, _ABSENT),
    "kcmp": (312, 272),
    "kexec_file_load": (320, 294),
    "kexec_load": (246, 104),
    "keyctl": (250, 219),
    "lookup_dcookie": (212, 18),
    "modify_ldt": (154, _ABSENT),
    "mount": (165, 40),
    "mount_setattr": (442, 442),
    "move_mount": (429, 429),
    "mq_open": (240, 180),
    "mq_unlink": (241, 181),
    "msgctl": (71, 187),
    "msgget": (68, 186),
    "msgrcv": (70, 188),
    "msgsnd": (69, 189),
    "name_to_handle_at": (303, 264),
    "nfsservctl": (180, 42),
    "open_by_handle_at": (304, 265),
    "open_tree": (428, 428),
    "open_tree_attr": (467, 467),
    "perf_event_open": (298, 241),
    "pidfd_getfd": (438, 438),
    "pivot_root": (155, 41),
    "process_madvise": (440, 440),
    "process_mrelease": (448, 448),
    "process_vm_readv": (310, 270),
    "process_vm_writev": (311, 271),
    "ptrace": (101, 117),
    "quotactl": (179, 60),
    "quotactl_fd": (443, 443),
    "reboot": (169, 142),
    "request_key": (249, 218),
    "semctl": (66, 191),
    "semget": (64, 190),
    "semop": (65, 193),
    "semtimedop": (220, 192),
    "setdomainname": (171, 162),
    "sethostname": (170, 161),
    "setns": (308, 268),
    "settimeofday": (164, 170),
    "shmat": (30, 196),
    "shmctl": (31, 195),
    "shmget": (29, 194),
    "swapoff": (168, 225),
    "swapon": (167, 224),
    "syslog": (103, 116),
    "umount2": (166, 39),
    "unshare": (272, 97),
    "uselib": (134, _ABSENT),
    "userfaultfd": (323, 282),
    "vhangup": (153, 58),
}
"""Calls that no model needs, by their number on x86_64 and aarch64. Message queues, semaphores and shared memory of
System V and of POSIX queues are open to every process of a user, and Landlock does not bound them."""
_ONLY_OWN: dict[str, tuple[int, int, int]] = {
    "ioprio_set": (251, 30, 1),
    "migrate_pages": (256, 238, 0),
    "move_pages": (279, 239, 0),
    "prlimit64": (302, 261, 0),
    "sched_setattr": (314, 274, 0),
    "sched_setparam": (142, 118, 0),
    "sched_setscheduler": (144, 119, 0),
    "setpriority": (141, 140, 1),
}
"""Calls that change another process of the same user, too: their numbers, and which argument names it (0: itself)."""
_ATTRIBUTES: dict[str, tuple[int, int]] = {
    "chmod": (90, _ABSENT),
    "chown": (92, _ABSENT),
    "fchmod": (91, 52),
    "fchmodat": (268, 53),
    "fchmodat2": (452, 452),
    "fchown": (93, 55),
    "fchownat": (260, 54),
    "file_setattr": (469, 469),
    "fremovexattr": (199, 16),
    "fsetxattr": (190, 7),
    "futimesat": (261, _ABSENT),
    "lchown": (94, _ABSENT),
    "lremovexattr": (198, 15),
    "lsetxattr": (189, 6),
    "removexattr": (197, 14),
    "removexattrat": (466, 466),
    "setpgid": (109, 154),
    "setsid": (112, 157),
    "setxattr": (188, 5),
    "setxattrat": (463, 463),
    "utime": (132, _ABSENT),
    "utimensat": (280, 88),
    "utimes": (235, _ABSENT),
}
"""Calls that change a file that cannot be opened: who may use it, and its times; and those by which a process leaves
its session or group, which is ended as a whole. For a child with the platform's own user."""
_CORES = {"sched_setaffinity": (203, 122, 0)}
"""Likewise, for another process. Not refused to a child with its own user: some libraries pin their threads so."""
_FORK: dict[str, tuple[int, int]] = {"fork": (57, _ABSENT), "vfork": (58, _ABSENT)}
_CLONE, _CLONE3, _IOCTL, _SOCKET, _SOCKETPAIR = (56, 220), (435, 435), (16, 29), (41, 198), (53, 199)
_NEW_NAMESPACES = 0x7E020000
_CLONE_THREAD = 0x10000
_IOCTLS = (0x5412, 0x541C, 0x40086602, 0x40046602, 0x401C5820, 0x40087602, 0x40806685, 0x800C6613)
"""TIOCSTI and TIOCLINUX put keys into terminals; the others change the flags, version, verity and encryption of a file
that is open only to be read: FS_IOC_SETFLAGS (of 64 and 32 bits), FSSETXATTR, SETVERSION, ENABLE_VERITY and
SET_ENCRYPTION_POLICY."""
_UNIX, _INET, _INET6 = 1, 2, 10
_STREAM, _DGRAM, _SEQPACKET, _TYPE = 1, 2, 5, 0xF

_LOAD, _EQUAL, _ABOVE, _ANY, _AND, _RETURN = 0x20, 0x15, 0x35, 0x45, 0x54, 0x06
_NUMBER_AT, _ARCH_AT, _FIRST_AT, _SECOND_AT = 0, 4, 16, 24
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
    told = {"unix": unix, "inet": inet, "streams": streams, "subprocesses": subprocesses, "attributes": attributes}
    _install(program(platform.machine(), **told))


def program(machine: str, *, unix: bool, inet: bool, streams: bool, subprocesses: bool, attributes: bool) -> bytes:
    """The filter, as the kernel reads it."""
    column = _COLUMN[machine]
    code: Code = [(_LOAD, 0, 0, _ARCH_AT), (_EQUAL, 1, 0, _ARCH[machine]), _answer(_KILL), (_LOAD, 0, 0, _NUMBER_AT)]
    code += [(_ABOVE, 0, 1, _X32), _answer(_REFUSE)]
    never = _NEVER | ({} if subprocesses else _FORK) | ({} if attributes else _ATTRIBUTES)
    for numbers in never.values():
        if numbers[column] != _ABSENT:
            code += [(_EQUAL, 0, 1, numbers[column]), _answer(_REFUSE)]
    for *numbers, argument in (_ONLY_OWN | ({} if attributes else _CORES)).values():
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
    return [*code, _answer(_REFUSE)]


class _Program(ctypes.Structure):
    _fields_ = (("len", ctypes.c_ushort), ("filter", ctypes.c_char_p))


def _install(code: bytes) -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    libc.syscall.restype = ctypes.c_long
    told = _Program(len(code) // 8, code)
    set_filter, all_threads = 1, 1
    number = ctypes.c_long(_SECCOMP[platform.machine()])
    if libc.syscall(number, ctypes.c_long(set_filter), ctypes.c_long(all_threads), ctypes.byref(told)):
        raise OSError(ctypes.get_errno(), f"seccomp: {os.strerror(ctypes.get_errno())}")
