"""TCP ports for servers that must be given one."""

import fcntl
import os
import random
import socket
import tempfile
from pathlib import Path

_RANDOM = random.Random(os.getpid())
_HELD: list[int] = []
"""Descriptors of the locks of the ports that this process was given; they are released with it."""


def free() -> int:
    """A port that nobody holds and that no other process was given by this function, below those that the kernel gives
    to connections and to whoever binds port 0: they would take it between this call and the start of its server."""
    locks = Path(tempfile.gettempdir(), "ports")
    locks.mkdir(exist_ok=True)
    while True:
        port = _RANDOM.randrange(15_000, 32_000)
        lock = os.open(locks / str(port), os.O_CREAT | os.O_RDWR, 0o600)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            with socket.socket() as held:
                held.bind(("127.0.0.1", port))
        except OSError:
            os.close(lock)
            continue
        _HELD.append(lock)
        return port
