"""An open-loop HTTP client that spins on one core: requests leave at their times, whether or not answers have come.

`--apart` is for a client that shares all cores with what it measures: it sleeps until something is due, and then runs
before everybody else (SCHED_FIFO), as if it were on another machine.

Latency counts from the intended time, so a stalled server is charged for every request that it made wait
(no coordinated omission). No asyncio: its timers have a granularity of a millisecond, more than what is measured.
"""

import argparse
import os
import random
import select
import socket
import time
from collections import deque
from pathlib import Path

from bench.load import Load, emit, percentile


def schedule(rate: float, seconds: float, seed: int = 0) -> list[float]:
    """Seconds after the start at which requests are due: a Poisson process, the same for every server."""
    draw, at, times = random.Random(seed).expovariate, 0.0, []
    while (at := at + draw(rate)) < seconds:
        times.append(at)
    return times


def message_length(buffer: bytes | bytearray) -> int | None:
    """Bytes of the first whole response in the buffer, or None while it is not complete."""
    end = buffer.find(b"\r\n\r\n")
    if end < 0:
        return None
    head = bytes(buffer[:end]).lower()
    at = head.find(b"\r\ncontent-length:")
    if at < 0:
        raise ValueError("a response without content-length")
    total = end + 4 + int(head[at + 17 :].split(b"\r\n", 1)[0])
    return total if len(buffer) >= total else None


class Client:
    """A pool of keep-alive connections, one request in flight on each; grows up to `limit`."""

    def __init__(self, port: int, request: bytes, limit: int = 512, *, sleeps: bool = False):
        self.port, self.request, self.limit, self.sleeps = port, request, limit, sleeps
        self.epoll = select.epoll()
        self.sockets: dict[int, socket.socket] = {}
        self.buffers: dict[int, bytearray] = {}
        self.due: dict[int, float] = {}
        self.idle: deque[int] = deque()
        self.latencies: list[float] = []
        self.errors = 0

    def connect(self) -> None:
        s = socket.create_connection(("127.0.0.1", self.port))
        s.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.sockets[s.fileno()], self.buffers[s.fileno()] = s, bytearray()
        self.epoll.register(s.fileno(), select.EPOLLIN)
        self.idle.append(s.fileno())

    def send(self, due: float) -> bool:
        """Sends the request that was due then, if a connection is free or may be opened."""
        if not self.idle:
            if len(self.sockets) >= self.limit:
                return False
            self.connect()
        fd = self.idle.popleft()
        self.due[fd] = due
        self.sockets[fd].sendall(self.request)
        return True

    def drop(self, fd: int) -> None:
        """Forgets a connection that the server closed: its right while idle, an error with a request in flight."""
        if fd in self.idle:
            self.idle.remove(fd)
        self.errors += self.due.pop(fd, None) is not None
        self.epoll.unregister(fd)
        self.sockets.pop(fd).close()

    def receive(self, wait: float = 0) -> None:
        for fd, _ in self.epoll.poll(wait):
            try:
                data = self.sockets[fd].recv(1 << 18)
            except ConnectionResetError:
                data = b""
            if not data:
                self.drop(fd)
                continue
            buffer = self.buffers[fd]
            buffer += data
            if message_length(buffer) is None:
                continue
            self.latencies.append(time.perf_counter() - self.due.pop(fd))
            self.errors += b" 200 " not in buffer[:16]
            buffer.clear()
            self.idle.append(fd)

    def close(self) -> None:
        for s in self.sockets.values():
            s.close()
        self.epoll.close()

    def run(self, times: list[float], patience: float = 20) -> float:
        """Sends all at their times and gives the seconds until the last answer; what never comes is an error."""
        start, waiting, behind = time.perf_counter(), deque(times), deque()
        while waiting or behind or self.due:
            now = time.perf_counter()
            while waiting and start + waiting[0] <= now:
                behind.append(start + waiting.popleft())
            while behind and self.send(behind[0]):
                behind.popleft()
            if self.sleeps:
                next_due = start + waiting[0] if waiting else now + patience
                select.select([self.epoll], [], [], max(0.0, next_due - time.perf_counter()))
            self.receive()
            if now - start > times[-1] + patience:
                self.errors += len(behind) + len(self.due)
                break
        return time.perf_counter() - start


def parser() -> argparse.ArgumentParser:
    """The arguments that the HTTP clients share."""
    options = argparse.ArgumentParser()
    for name, kind in (("port", int), ("path", str), ("seconds", float), ("body", str)):
        options.add_argument(f"--{name}", type=kind, required=True)
    options.add_argument("--header", action="append", default=[])
    return options


def request(a: argparse.Namespace) -> bytes:
    """The bytes of one request."""
    body = Path(a.body).read_bytes()
    head = [f"POST {a.path} HTTP/1.1", f"Host: 127.0.0.1:{a.port}", *a.header, f"Content-Length: {len(body)}"]
    return "\r\n".join([*head, "", ""]).encode() + body


def main() -> None:
    options = parser()
    options.add_argument("--rate", type=float, required=True)
    options.add_argument("--apart", action="store_true")
    a = options.parse_args()
    if a.apart:
        os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(1))
    client = Client(a.port, request(a), sleeps=a.apart)
    for _ in range(8):
        client.connect()
    client.run(schedule(min(a.rate, 500), 1.0, seed=1))
    client.latencies.clear()
    times = schedule(a.rate, a.seconds)
    lasted = client.run(times)
    took = sorted(client.latencies)
    emit(Load(len(times), lasted, client.errors, percentile(took, 0.5) * 1e6, percentile(took, 0.99) * 1e6))


if __name__ == "__main__":
    main()
