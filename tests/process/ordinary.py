"""Run a command as a user who is not root, with this Python and this repository: `python ordinary.py FOLDER COMMAND…`.

Where the Python lies in a home that others cannot enter, the command sees that home, in a mount namespace of its own,
as one that holds only what is needed and that everybody can enter. Exits with `CANNOT` and a reason where that is not
possible here.
"""

import ctypes
import os
import stat
import sys
from pathlib import Path

USER = 65534
CANNOT = 77
_NEW_NAMESPACE, _BIND, _RECURSIVE, _PRIVATE = 0x20000, 4096, 16384, 1 << 18
_LIBC = ctypes.CDLL(None, use_errno=True)


def needed() -> list[Path]:
    """The folders that the tests read."""
    root = Path(__file__).parents[2]
    return sorted({Path(each).resolve() for each in (sys.base_prefix, sys.prefix, root)})


def barred(folder: Path) -> Path | None:
    """The first folder on the way that others cannot enter."""
    for each in (*reversed(folder.parents), folder):
        if not stat.S_IMODE(each.stat().st_mode) & 1:
            return each
    return None


def mount(source: str | None, target: Path, kind: str | None, flags: int, data: str | None = None) -> None:
    """mount(2)."""
    told = [each.encode() if each is not None else None for each in (source, str(target), kind, data)]
    if _LIBC.mount(told[0], told[1], told[2], ctypes.c_ulong(flags), told[3]):
        raise OSError(ctypes.get_errno(), f"mount {target}: {os.strerror(ctypes.get_errno())}")


def open_up(folder: Path) -> None:
    """Let everybody reach what is needed."""
    ways = {each: way for each in needed() if (way := barred(each)) is not None}
    if not ways:
        return
    if _LIBC.unshare(_NEW_NAMESPACE):
        raise OSError(ctypes.get_errno(), f"unshare: {os.strerror(ctypes.get_errno())}")
    mount(None, Path("/"), None, _RECURSIVE | _PRIVATE)
    for way in sorted(set(ways.values())):
        inner = [each for each in ways if ways[each] == way]
        held = {each: folder / f"held-{at}" for at, each in enumerate(inner)}
        for each, place in held.items():
            place.mkdir()
            mount(str(each), place, None, _BIND | _RECURSIVE)
        mount("tmpfs", way, "tmpfs", 0, "mode=755")
        for each, place in held.items():
            each.mkdir(parents=True, exist_ok=True)
            mount(str(place), each, None, _BIND | _RECURSIVE)


def main(folder: Path, command: list[str]) -> None:
    """Become the user, and the command."""
    os.umask(0o022)
    try:
        open_up(folder)
    except OSError as error:
        print(f"cannot let another user at this Python: {error}")
        sys.exit(CANNOT)
    home = folder / "home"
    home.mkdir(mode=0o700)
    os.chown(home, USER, USER)
    os.setgroups([])
    os.setresgid(USER, USER, USER)
    os.setresuid(USER, USER, USER)
    environ = {name: str(home) for name in ("HOME", "TMPDIR", "HYPOTHESIS_STORAGE_DIRECTORY")}
    environ |= {"PATH": os.environ["PATH"], "LANG": "C.UTF-8", "PYTHONDONTWRITEBYTECODE": "1"}
    os.execve(command[0], command, environ)


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2:])
