"""What an attack costs others: the memory of a process, and how long a small request of somebody else takes."""

import contextlib
import socket
import threading
import time
from collections.abc import Callable
from pathlib import Path

SECONDS = 30
LULL = 0.3


def resident(pid: int, what: str) -> int:
    """KiB: `VmRSS` now, `VmHWM` at the most since `forget`."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return int(next(line for line in lines if line.startswith(what)).split()[1])


def forget(pid: int) -> None:
    """Count the most memory anew."""
    Path(f"/proc/{pid}/clear_refs").write_text("5")


def wait(condition: Callable[[], bool]) -> None:
    """Until it holds, or a minute has passed."""
    end = time.monotonic() + SECONDS
    while not condition() and time.monotonic() < end:
        time.sleep(0.01)


class Stalls:
    """Sends a small request again and again. `longest` is what one took at the most, in seconds; an answer that begins
    otherwise than with `answer` is one that was not given, and `failed`. A connection that was ended is opened anew."""

    def __init__(self, connect: Callable[[], socket.socket], request: bytes, answer: bytes) -> None:
        self._connect, self._request, self._answer = connect, request, answer
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run)
        self.longest, self.probes, self.failed = 0.0, 0, 0

    def __enter__(self) -> "Stalls":
        self._thread.start()
        wait(lambda: self.probes > 100)
        self.longest, self.failed = 0.0, 0
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()

    def settled(self) -> None:
        """Wait until the probes have gone on for a while, so that what was sent has been looked at."""
        time.sleep(LULL)
        seen = self.probes
        wait(lambda: self.probes > seen + 20)

    def _run(self) -> None:
        line: socket.socket | None = None
        start = time.perf_counter()
        while not self._stop.is_set():
            found = b""
            with contextlib.suppress(OSError):
                line = line or self._connect()
                line.sendall(self._request)
                found = line.recv(65536)
            if not found and line is not None:
                line.close()
                line = None
            else:
                self.failed += not found.startswith(self._answer)
                self.longest = max(self.longest, time.perf_counter() - start)
                self.probes += 1
            time.sleep(0.002)
            start = start if not found else time.perf_counter()
        if line is not None:
            line.close()
