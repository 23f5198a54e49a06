"""Messages between a process and a child of it: one JSON object a line, over a pair of sockets."""

import os
import socket
import threading
from collections.abc import Callable, Iterator
from typing import Any, Generic, TypeVar

import msgspec

M = TypeVar("M")


class Channel(Generic[M]):
    """One end of a pair of sockets; `decode` makes messages of the lines that come in."""

    def __init__(self, end: socket.socket, decode: Callable[[bytes], M]) -> None:
        self.socket = end
        self._decode = decode
        self._rest = b""
        self._sending = threading.Lock()

    def send(self, message: Any) -> bool:
        """Send a message; any thread may. False: the other end is gone."""
        try:
            with self._sending:
                self.socket.sendall(msgspec.json.encode(message) + b"\n")
        except OSError:
            return False
        return True

    def receive(self) -> list[M] | None:
        """Wait for messages; None once the other end is gone. What a dying process cut short is left out."""
        try:
            data = self.socket.recv(65536)
        except OSError:
            return None
        if not data:
            return None
        *lines, self._rest = (self._rest + data).split(b"\n")
        return [self._decode(line) for line in lines]

    def __iter__(self) -> Iterator[M]:
        """Messages until the other end is gone."""
        while (messages := self.receive()) is not None:
            yield from messages

    def close(self) -> None:
        self.socket.close()


def own() -> socket.socket:
    """The end that this process has as its standard input from its start."""
    end = socket.socket(fileno=os.dup(0))
    nowhere = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nowhere, 0)
    os.close(nowhere)
    return end
