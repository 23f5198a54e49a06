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
import tempfile
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

import grpc

from attack.inputs import GRPC, MB, REST, ROW, Grpc, Rest, post, tensor
from attack.watch import SECONDS, Stalls, forget, resident

if TYPE_CHECKING:
    from attack.platform import Door, Platform

PROBE = post("rows", tensor("FP32", [1, 4], b"[1,2,3,4]"))
MOST_MIB, MOST_MS = 64, 100
TRIES = 3


class Cost(NamedTuple):
    """What one input cost: its bytes, MiB of the process that grew the most, ms, and what was answered."""

    surface: str
    name: str
    size: int
    mib: float
    ms: float
    answer: str
    process: str = "replica"


class Victim:
    """A replica in a process of its own, and a prober beside it."""

    def __init__(self) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-m", "attack.replica", "-"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        assert self.process.stdout is not None
        self.http, self.grpc = json.loads(self.process.stdout.readline())
        self.stalls = Stalls(self.connect, PROBE, b"HTTP/1.1 200")

    def __enter__(self) -> "Victim":
        with grpc.insecure_channel(self.grpc) as channel:
            channel.unary_unary("/inference.GRPCInferenceService/ModelInfer")(ROW, wait_for_ready=True)
        self.stalls.__enter__()
        forget(self.process.pid)
        self._before = resident(self.process.pid, "VmRSS")
        return self

    def __exit__(self, *_: object) -> None:
        self.stalls.__exit__()
        self.process.communicate(timeout=60)
        assert not self.stalls.failed, "a probe was not answered with 200"

    @property
    def grown(self) -> float:
        """MiB, at the most."""
        return (resident(self.process.pid, "VmHWM") - self._before) / 1024

    def settled(self) -> None:
        """Wait until what was sent has been looked at."""
        self.stalls.settled()

    def connect(self) -> socket.socket:
        """A connection to its HTTP port."""
        host, _, port = self.http.rpartition(":")
        return socket.create_connection((host, int(port)), timeout=SECONDS)


class Target(Protocol):
    """Whom REST inputs are sent to."""

    def connect(self) -> socket.socket:
        """A connection."""
        ...

    def settled(self) -> None:
        """Wait until what was sent has been looked at."""
        ...


def rest(one: Rest, data: bytes, victim: Target) -> tuple[int, str]:
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
    head = b""
    try:
        head = line.recv(4096)
        line.settimeout(1)
        while line.recv(MB):
            pass
    except OSError:
        pass
    return head.split(b" ", 2)[1].decode() if head else "none"


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
        costs.append(Cost("—", "nothing", 0, victim.grown, victim.stalls.longest * 1000, ""))
    for surface, inputs, send in (("REST", REST, rest), ("gRPC", GRPC, call)):
        for one in inputs:
            if words in one.name:
                data = one.make()
                with Victim() as victim:
                    size, answer = send(one, data, victim)
                    costs.append(Cost(surface, one.name, size, victim.grown, victim.stalls.longest * 1000, answer))
                print(*costs[-1], sep="\t", file=sys.stderr, flush=True)
    return costs


def measure_platform(words: str = "", worst: bool = False) -> list[Cost]:
    """Every input to a platform whose name or surface has these words; the `worst` alone: those of the quick check.

    One platform takes those of a surface, one after the other. What stalls too long is tried again: what else goes on
    on the machine only adds to a stall, so the shortest counts, and the most memory.
    """
    from attack.platform import CONFIG, EXPOSED, running
    from attack.surfaces import SURFACES

    costs: list[Cost] = []
    for surface, (door, inputs) in SURFACES.items():
        if words in SURFACES and words != surface:
            continue
        config = EXPOSED if "TLS" in surface else CONFIG
        with tempfile.TemporaryDirectory(prefix="c") as folder, running(Path(folder) / "h", config) as platform:
            for one in inputs(platform):
                if (words in one.name or words in surface) and (one.worst or not worst):
                    tries = [_tried(surface, door, one, platform)]
                    while tries[-1].ms > MOST_MS and len(tries) < TRIES:
                        tries.append(_tried(surface, door, one, platform))
                    least = min(each.ms for each in tries)
                    costs.append(max(tries, key=lambda each: each.mib)._replace(ms=least))
                    print(*costs[-1], sep="\t", file=sys.stderr, flush=True)
    return costs


def _tried(surface: str, door: "Door", one: Rest, platform: "Platform") -> Cost:
    from attack.platform import Watched

    with Watched(platform, door) as watched:
        size, answer = rest(one, one.make(), watched)
        mib, process = watched.grown
    return Cost(surface, one.name, size, mib, watched.longest * 1000, answer, process)


def table(costs: list[Cost]) -> str:
    """As Markdown."""
    lines = ["| surface | input | KB sent | process | MiB more | longest stall, ms | answer |"]
    lines.append("|---|---|--:|---|--:|--:|---|")
    lines += [
        f"| {one.surface} | {one.name} | {one.size / 1000:,.0f} | {one.process} | {one.mib:.0f} | {one.ms:.0f} | "
        f"{one.answer} |"
        for one in costs
    ]
    return "\n".join(lines)


def main() -> int:
    """Measure, print, and say whether all is within bounds."""
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("words", nargs="?", default="", help="only inputs whose names have these words")
    options.add_argument("--only", choices=["replica", "platform"], help="only the inputs to a replica, or to the rest")
    given = options.parse_args()
    costs = measure(given.words) if given.only != "platform" else []
    costs += measure_platform(given.words) if given.only != "replica" else []
    print(table(costs))
    over = [one for one in costs if one.mib > MOST_MIB or one.ms > MOST_MS]
    for one in over:
        print(f"over {MOST_MIB} MiB or {MOST_MS} ms: {one.surface}, {one.name}", file=sys.stderr)
    return 1 if over else 0


if __name__ == "__main__":
    sys.exit(main())
