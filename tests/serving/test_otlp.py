"""The sender keeps its connection, opens it again where it must, and says what became of each export."""

import contextlib
import socket
import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from argosy.serving.tracer import Sender

OK = b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n"


class Peer:
    """Answers each request on a connection with the next of the answers; None closes it without one."""

    def __init__(self, answers: list[bytes | None]) -> None:
        self.answers, self.connections, self.heads = answers, 0, list[bytes]()
        self._socket = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self._socket.getsockname()[1]}/v1/traces?t=1"
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self) -> None:
        while self.answers:
            try:
                connection, _ = self._socket.accept()
            except OSError:
                return
            self.connections += 1
            with connection, contextlib.suppress(OSError):
                self._talk(connection)

    def _talk(self, connection: socket.socket) -> None:
        while self.answers:
            data = b""
            while not data.endswith(b"body"):
                if not (more := connection.recv(65536)):
                    return
                data += more
            self.heads.append(data)
            if (answer := self.answers.pop(0)) is None:
                return
            connection.sendall(answer)

    def close(self) -> None:
        self._socket.close()


@pytest.fixture
def peer() -> Iterator[Callable[..., Peer]]:
    made: list[Peer] = []

    def start(*answers: Any) -> Peer:
        made.append(Peer(list(answers)))
        return made[-1]

    yield start
    for each in made:
        each.close()


def test_one_connection_serves_many_exports(peer: Callable[..., Peer]) -> None:
    at = peer(OK, OK, OK)
    sender = Sender(at.url, {"authorization": "Bearer x"}, 60)
    assert all(sender.send(b"body") for _ in range(3))
    assert at.connections == 1
    assert at.heads[0].startswith(b"POST /v1/traces?t=1 HTTP/1.1\r\n")
    assert b"authorization: Bearer x\r\n" in at.heads[0]
    assert b"content-type: application/x-protobuf\r\n" in at.heads[0]
    sender.close()


def test_a_connection_that_was_closed_meanwhile_is_opened_again(peer: Callable[..., Peer]) -> None:
    at = peer(OK, None, OK)
    sender = Sender(at.url, {}, 60)
    assert sender.send(b"body")
    assert sender.send(b"body")
    assert at.connections == 2
    sender.close()


def test_what_is_refused_or_cut_off_was_not_taken(peer: Callable[..., Peer]) -> None:
    for answer in (b"HTTP/1.1 503 Busy\r\ncontent-length: 0\r\n\r\n", b"what?\r\n\r\n", None):
        sender = Sender(peer(answer).url, {}, 60)
        assert not sender.send(b"body")
        sender.close()
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        assert not Sender(f"http://127.0.0.1:{unused.getsockname()[1]}", {}, 60).send(b"body")


def test_a_collector_that_says_nothing_is_waited_for_so_long_and_no_longer() -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        assert not Sender(f"http://127.0.0.1:{silent.getsockname()[1]}", {}, 0.3).send(b"body")


def test_an_answer_without_end_costs_little(peer: Callable[..., Peer]) -> None:
    at = peer(b"HTTP/1.1 200 OK\r\ncontent-length: 1000000\r\n\r\n" + b"x" * 1_000_000, OK)
    sender = Sender(at.url, {}, 60)
    assert sender.send(b"body")
    assert sender.send(b"body")
    sender.close()
