"""Log files of replicas: appended to by the replica itself, bounded in size from outside."""

import os
import re
import shutil
from collections.abc import Collection
from datetime import datetime
from pathlib import Path

MAX_BYTES = 16 * 1024 * 1024
KEEP = 200

_REPLICA = re.compile(r"(.+-[0-9a-f]{6}-\d+)\.log(?:\.1)?")


def rotate(path: Path, max_bytes: int = MAX_BYTES) -> bool:
    """Past `max_bytes`, keep the content as `<name>.1` and empty the file in place (its writer appends)."""
    try:
        if path.stat().st_size <= max_bytes:
            return False
        shutil.copyfile(path, path.with_name(path.name + ".1"))
        os.truncate(path, 0)
    except OSError:
        return False
    return True


def note(path: Path, text: str) -> None:
    """Add a line of ours in the form of the replica's own, as far as the disk allows."""
    line = f"{datetime.now().astimezone():%Y-%m-%d %H:%M:%S,%f}"[:-3] + f" ERROR {text}\n"
    try:
        with path.open("rb") as file:
            unfinished = file.seek(0, os.SEEK_END) and file.seek(-1, os.SEEK_END) and file.read(1) != b"\n"
        with path.open("a") as file:
            file.write("\n" * bool(unfinished) + line)
    except OSError:
        return


def prune(logs: Path, running: Collection[str], keep: int = KEEP) -> int:
    """Delete logs of replicas that run no more, but for the `keep` written last. How many were deleted."""
    ended = [
        path for path in logs.glob("*.log*") if (found := _REPLICA.fullmatch(path.name)) and found[1] not in running
    ]
    ended.sort(key=lambda path: path.stat().st_mtime)
    for path in ended[: max(0, len(ended) - keep)]:
        path.unlink(missing_ok=True)
    return max(0, len(ended) - keep)


def size(path: Path) -> int:
    """Bytes in the file now; 0 where there is none."""
    try:
        return path.stat().st_size
    except OSError:
        return 0
