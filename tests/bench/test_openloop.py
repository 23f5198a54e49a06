import socket
import threading
import time

import pytest

from bench import openloop

ANSWER = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"


def test_the_schedule_is_the_same_every_time_and_keeps_the_rate():
    times = openloop.schedule(1000, 4)
    assert times == openloop.schedule(1000, 4)
    assert times == sorted(times)
    assert times[-1] < 4
    assert 3700 < len(times) < 4300


@pytest.mark.parametrize("size", range(len(ANSWER)))
def test_a_partial_response_is_not_a_message(size: int):
    assert openloop.message_length(ANSWER[:size]) is None


def test_a_whole_response_is_a_message_in_any_case_of_letters():
    assert openloop.message_length(ANSWER) == len(ANSWER)
    assert openloop.message_length(ANSWER.lower()) == len(ANSWER)


def test_a_response_of_unknown_length_is_refused():
    with pytest.raises(ValueError, match="content-length"):
        openloop.message_length(b"HTTP/1.1 200 OK\r\n\r\n")


def serve(listener: socket.socket, stall: float) -> None:
    """Answers requests of one connection, the first one only after `stall` seconds."""
    connection, _ = listener.accept()
    with connection:
        while data := connection.recv(4096):
            time.sleep(stall)
            stall = 0
            connection.sendall(ANSWER * data.count(b"POST"))


def test_a_stall_is_charged_to_every_request_that_was_due_in_it():
    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=serve, args=(listener, 0.3), daemon=True)
        thread.start()
        client = openloop.Client(listener.getsockname()[1], b"POST / HTTP/1.1\r\n\r\n", limit=1)
        client.run([0.0, 0.05, 0.1])
        client.close()
        thread.join(60)
    assert client.errors == 0
    assert [latency > due for latency, due in zip(client.latencies, (0.28, 0.23, 0.18), strict=True)] == [True] * 3


def close_idle(listener: socket.socket, request: bytes) -> None:
    """Closes the first connection unasked, and the second one with its request unanswered."""
    listener.accept()[0].close()
    connection, _ = listener.accept()
    with connection:
        connection.recv(len(request))


def test_a_closed_connection_is_an_error_only_with_a_request_in_flight():
    request = b"POST / HTTP/1.1\r\n\r\n"
    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=close_idle, args=(listener, request), daemon=True)
        thread.start()
        client = openloop.Client(listener.getsockname()[1], request)
        client.connect()
        client.receive(wait=60)
        assert (client.errors, len(client.sockets)) == (0, 0)
        client.run([0.0])
        client.close()
        thread.join(60)
    assert (client.errors, client.latencies) == (1, [])
