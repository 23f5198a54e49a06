"""TCP ports for servers that must be given one."""

import os
import random
import socket

_RANDOM = random.Random(os.getpid())


def free() -> int:
    """A port that nobody holds, below those that the kernel gives to connections and to whoever binds port 0: they
    would take it between this call and the start of its server."""
    while True:
        port = _RANDOM.randrange(15_000, 32_000)
        with socket.socket() as held:
            try:
                held.bind(("127.0.0.1", port))
            except OSError:
                continue
        return port
