"""A user of its own for each child, where the platform runs as root; and no more rights than it needs."""

import contextlib
import ctypes
import os
import secrets
import signal
from pathlib import Path

FIRST, LAST = 61184, 65519
"""The range that systemd leaves to users without a name."""
_DAC_OVERRIDE, _DAC_READ_SEARCH, _KILL, _SETGID, _SETUID, _SETPCAP, _CHOWN, _PTRACE = 1, 2, 5, 6, 7, 8, 0, 19
_NEEDED = (_CHOWN, _DAC_OVERRIDE, _DAC_READ_SEARCH, _KILL, _SETGID, _SETUID, _SETPCAP, _PTRACE)
_VERSION_3 = 0x20080522
_CAPBSET_DROP, _KEEPCAPS, _AMBIENT, _CLEAR_ALL = 24, 8, 47, 4
_DYNAMIC = Path("/run/systemd/dynamic-uid")


def lacks() -> str:
    """Why children cannot have a user of their own here; empty where they can."""
    if os.geteuid():
        return "the platform does not run as root"
    effective = _field("CapEff")
    if missing := [each for each in _NEEDED if not int(effective or "0", 16) >> each & 1]:
        return f"root is without the capabilities {', '.join(map(str, missing))}"
    lines = [list(map(int, line.split())) for line in Path("/proc/self/uid_map").read_text().splitlines()]
    if not any(inside <= FIRST and inside + count > LAST for inside, _, count in lines):
        return f"this namespace has no users {FIRST} to {LAST}"
    return ""


def free() -> int:
    """One that no process has now."""
    taken = {of(int(name)) for name in os.listdir("/proc") if name.isdigit()}
    while True:
        uid = FIRST + secrets.randbelow(LAST - FIRST + 1)
        if uid not in taken and not (_DYNAMIC / str(uid)).exists():
            return uid


def owned(uid: int) -> bool:
    """Whether it is one of ours."""
    return FIRST <= uid <= LAST


def of(pid: int) -> int:
    """The user of a process; 0 where that is gone."""
    try:
        return os.stat(f"/proc/{pid}").st_uid
    except OSError:
        return 0


def end(uid: int) -> None:
    """End every process of one of these users. Twice, since one may be born while the others are looked for."""
    for _ in range(2):
        for name in filter(str.isdigit, os.listdir("/proc")):
            if of(int(name)) == uid:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(int(name), signal.SIGKILL)


def become(uid: int) -> None:
    """Be this user from now on, in no group, with one capability left: to read where only the file's owner may.

    Python and packages often lie in a home that others cannot enter. What may be read is Landlock's to say. What is
    started from here has no capability. Raises OSError.
    """
    os.setgroups([])
    os.setresgid(uid, uid, uid)
    _prctl(_KEEPCAPS, 1)
    _drop_bounding()
    os.setresuid(uid, uid, uid)
    _prctl(_KEEPCAPS, 0)
    _keep(1 << _DAC_READ_SEARCH)


def drop() -> None:
    """Stay root by name, without capabilities but to read: where there is no Landlock, or no other user. Raises
    OSError."""
    _drop_bounding()
    _keep(0)


def _drop_bounding() -> None:
    for each in range(64):
        if _libc().prctl(_CAPBSET_DROP, ctypes.c_ulong(each), 0, 0, 0):
            break
    _libc().prctl(_AMBIENT, ctypes.c_ulong(_CLEAR_ALL), 0, 0, 0)


def _keep(capabilities: int) -> None:
    head = (ctypes.c_uint32 * 2)(_VERSION_3, 0)
    low, high = capabilities & 0xFFFFFFFF, capabilities >> 32
    data = (ctypes.c_uint32 * 6)(low, low, 0, high, high, 0)
    if _libc().capset(head, data):
        raise OSError(ctypes.get_errno(), f"capset: {os.strerror(ctypes.get_errno())}")


def _prctl(option: int, value: int) -> None:
    if _libc().prctl(option, ctypes.c_ulong(value), 0, 0, 0):
        raise OSError(ctypes.get_errno(), f"prctl({option}): {os.strerror(ctypes.get_errno())}")


def _libc() -> ctypes.CDLL:
    return ctypes.CDLL(None, use_errno=True)


def _field(name: str) -> str:
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith(name + ":"):
            return line.partition(":")[2].strip()
    return ""
