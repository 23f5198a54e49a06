"""`python -m attack.costs`: what every cheap input to a replica costs, as a Markdown table.

Each input is sent to a replica of its own, in another process. Memory is the most that is resident at any moment, less
what was before. Stall is the longest that a small request on another connection took meanwhile; what the machine alone
takes stands in the first line.
"""

import argparse
import contextlib
import json
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import grpc

from attack.inputs import GRPC, MB, REST, ROW, Grpc, Rest, post, tensor

PROBE = post("rows", tensor("FP32", [1, 4], b"[1,2,3,4]"))
SECONDS = 60
LULL = 0.3
MOST_MIB, MOST_MS = 64, 100


class Cost(NamedTuple):
    """What one input cost: its bytes, MiB, ms, and what was answered."""

    surface: str
    name: str
    size: int
    mib: float
    ms: float
    answer: str


class Victim:
    """A replica in a process of its own, and a prober beside it."""

    def __init__(self) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-m", "attack.replica", "-"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        assert self.process.stdout is not None
        self.http, self.grpc = json.loads(self.process.stdout.readline())
        self._stop = threading.Event()
        self.longest = 0.0
        self.probes = 0

    def __enter__(self) -> "Victim":
        self._thread = threading.Thread(target=self._probe)
        self._thread.start()
        with grpc.insecure_channel(self.grpc) as channel:
            channel.unary_unary("/inference.GRPCInferenceService/ModelInfer")(ROW, wait_for_ready=True)
        wait(lambda: self.probes > 100)
        Path(f"/proc/{self.process.pid}/clear_refs").write_text("5")
        self._before, self.longest = self._resident("VmRSS"), 0.0
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()
        self.process.communicate(timeout=60)

    @property
    def grown(self) -> float:
        """MiB, at the most."""
        return (self._resident("VmHWM") - self._before) / 1024

    def settled(self) -> None:
        """Wait until the probes have gone on for a while, so that what was sent has been looked at."""
        time.sleep(LULL)
        seen = self.probes
        wait(lambda: self.probes > seen + 20)

    def connect(self) -> socket.socket:
        """A connection to its HTTP port."""
        host, _, port = self.http.rpartition(":")
        return socket.create_connection((host, int(port)), timeout=SECONDS)

    def _resident(self, what: str) -> int:
        lines = Path(f"/proc/{self.process.pid}/status").read_text().splitlines()
        return int(next(line for line in lines if line.startswith(what)).split()[1])

    def _probe(self) -> None:
        with self.connect() as line:
            while not self._stop.is_set():
                start = time.perf_counter()
                line.sendall(PROBE)
                if not line.recv(65536).startswith(b"HTTP/1.1 200"):
                    raise SystemExit("a probe was not answered with 200")
                self.longest = max(self.longest, time.perf_counter() - start)
                self.probes += 1
                time.sleep(0.002)


def wait(condition: Callable[[], bool]) -> None:
    """Until it holds, or a minute has passed."""
    end = time.monotonic() + SECONDS
    while not condition() and time.monotonic() < end:
        time.sleep(0.01)


def rest(one: Rest, data: bytes, victim: Victim) -> tuple[int, str]:
    """Send it; the bytes sent, and the first answer's status."""
    status = "not read"
    lines = [victim.connect() for _ in range(one.times)]
    try:
        for line in lines:
            line.settimeout(SECONDS if one.read else 2)
            sender = threading.Thread(target=_send, args=(line, data))
            sender.start()
            if one.read:
                status = _status(line)
            sender.join()
        victim.settled()
        if not one.read:
            time.sleep(1)
    finally:
        for line in lines:
            line.close()
    return len(data) * one.times, status


def _send(line: socket.socket, data: bytes) -> None:
    with contextlib.suppress(OSError):
        line.sendall(data)


def _status(line: socket.socket) -> str:
    try:
        head = line.recv(4096)
        line.settimeout(1)
        while line.recv(MB):
            pass
    except OSError:
        pass
    return head.split(b" ", 2)[1].decode() if head else "ended"


def call(one: Grpc, data: bytes, victim: Victim) -> tuple[int, str]:
    """Make it; the bytes sent, and its code. What is to be compressed was: the replica tells it by how it begins."""
    options = [("grpc.max_send_message_length", -1), ("grpc.max_receive_message_length", -1)]
    size = len(data) * max(1, one.messages)
    with grpc.insecure_channel(victim.grpc, options=options) as channel:
        if one.messages:
            return size, _unread(one, channel, data, victim)
        try:
            channel.unary_unary("/inference.GRPCInferenceService/ModelInfer")(data, timeout=SECONDS)
            code = "OK"
        except grpc.RpcError as error:
            code = error.code().name
        victim.settled()
    return size, code


def _unread(one: Grpc, channel: Any, data: bytes, victim: Victim) -> str:
    method = channel.stream_stream("/inference.GRPCInferenceService/ModelStreamInfer")
    answers = method(data for _ in range(one.messages))
    next(answers)
    time.sleep(2)
    victim.settled()
    answers.cancel()
    return "not read"


def measure(words: str = "") -> list[Cost]:
    """Every input whose name has these words."""
    costs: list[Cost] = []
    with Victim() as victim:
        time.sleep(2)
        costs.append(Cost("—", "nothing", 0, victim.grown, victim.longest * 1000, ""))
    for surface, inputs, send in (("REST", REST, rest), ("gRPC", GRPC, call)):
        for one in inputs:
            if words in one.name:
                data = one.make()
                with Victim() as victim:
                    size, answer = send(one, data, victim)
                    costs.append(Cost(surface, one.name, size, victim.grown, victim.longest * 1000, answer))
                print(*costs[-1], sep="\t", file=sys.stderr, flush=True)
    return costs


def table(costs: list[Cost]) -> str:
    """As Markdown."""
    lines = ["| surface | input | KB sent | MiB more | longest stall, ms | answer |", "|---|---|--:|--:|--:|---|"]
    lines += [
        f"| {one.surface} | {one.name} | {one.size / 1000:,.0f} | {one.mib:.0f} | {one.ms:.0f} | {one.answer} |"
        for one in costs
    ]
    return "\n".join(lines)


def main() -> int:
    """Measure, print, and say whether all is within bounds."""
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("words", nargs="?", default="", help="only inputs whose names have these words")
    costs = measure(options.parse_args().words)
    print(table(costs))
    over = [one for one in costs if one.mib > MOST_MIB or one.ms > MOST_MS]
    for one in over:
        print(f"over {MOST_MIB} MiB or {MOST_MS} ms: {one.surface}, {one.name}", file=sys.stderr)
    return 1 if over else 0


if __name__ == "__main__":
    sys.exit(main())
