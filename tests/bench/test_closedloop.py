import contextlib
import socket
import threading
from types import SimpleNamespace

import pytest

from bench import closedloop
from bench.openloop import Client

ANSWER = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"


def test_the_steady_rate_adds_up_connections_and_forgets_the_ends():
    """Batches of two connections every half second are four answers a second, wherever the window is cut."""
    assert closedloop.steady_rate({1: [0.4, 0.9, 1.4], 2: [0.4, 0.9, 1.4, 1.9]}) == pytest.approx(4)


@pytest.mark.parametrize("answers", [{}, {1: [0.5, 1.0], 2: [0.5]}])
def test_too_short_a_run_is_refused(answers: dict[int, list[float]]):
    with pytest.raises(ValueError, match="too short"):
        closedloop.steady_rate(answers)


def serve(listener: socket.socket, served: list[int], number: int) -> None:
    connection, _ = listener.accept()
    with connection, contextlib.suppress(ConnectionError):  # the client leaves with requests in flight
        while connection.recv(4096):
            connection.sendall(ANSWER)
            served[number] += 1


def test_each_connection_keeps_one_request_in_flight(monkeypatch: pytest.MonkeyPatch):
    """By a clock that ticks as both are answered."""
    served = [0, 0]
    monkeypatch.setattr(closedloop, "time", SimpleNamespace(perf_counter=lambda: min(served) / 100))
    monkeypatch.setattr(closedloop, "WARM_SECONDS", 0.01)
    with socket.create_server(("127.0.0.1", 0)) as listener:
        threads = [threading.Thread(target=serve, args=(listener, served, n), daemon=True) for n in range(2)]
        for thread in threads:
            thread.start()
        client = Client(listener.getsockname()[1], b"POST / HTTP/1.1\r\n\r\n")
        answers = closedloop.run(client, 2, 0.2)
        client.close()
        for thread in threads:
            thread.join(60)
    assert len(answers) == 2
    assert all(len(times) > 2 for times in answers.values())
    assert client.errors == 0
