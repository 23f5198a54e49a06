"""`run/control.json` as a platform announces itself in it."""

import msgspec

from argosy.spec.run_file import RunFile, control_file
from argosy.spec.settings import Home
from argosy.store.durable import say


def announce(home: Home, running: RunFile) -> None:
    """Write it, whole or not at all."""
    say(control_file(home), msgspec.json.encode(running))


def announced(home: Home, pid: int) -> RunFile | None:
    """What process `pid` has announced; None as long as it has not."""
    try:
        found = msgspec.json.decode(control_file(home).read_bytes(), type=RunFile)
    except (OSError, msgspec.MsgspecError):
        return None
    return found if found.pid == pid else None
