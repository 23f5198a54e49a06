"""A candidate in trial: in a process of its own, so that whatever it does, the slot that serves goes on.

It loads the package, passes the golden examples, then answers copies of live requests, one at a time (`shadow`), or a
growing share of them for the caller (`live`), which the slot before has answered as well. A request that it gets while
it is busy is not asked; one that it does not answer in time ends it. Its process goes first where memory is short, and
waits where the processor is. Both slots are held against each other by seconds of the processor.

Parent and child speak frames over a pair of sockets: a u32 length and msgpack.
"""

import contextlib
import ctypes
import os
import queue
import select
import signal
import socket
import struct
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec

from argosy_edge import model, tensors
from argosy_edge.errors import AgentError, BadPackage, Unavailable
from argosy_edge.model import SelfTest
from argosy_edge.server import Counted
from argosy_edge.tensors import Array, Arrays
from argosy_edge.trial import agrees
from argosy_edge.wire import Budget, Quality, Trial

MOST_FRAME = 128 * 1024 * 1024
MOST_WAITING = 8
LONGEST_LOAD = 300.0
LONGEST_ANSWER = 10.0
"""Seconds after which a candidate that does not answer is ended."""
LIVE_WAIT = 0.5
"""Seconds that a caller waits for the candidate before the slot before answers."""
LOOK = 0.1
"""Seconds between two looks at the child's memory."""
FLOOR = 2.0**-12
"""Seconds of the processor that all shorter ones count as: what a cold cache makes of them is no difference."""
NICE = 10
_LENGTH = struct.Struct("<I")
_PR_SET_PDEATHSIG = 1


class CandidateTask(msgspec.Struct, frozen=True, kw_only=True):
    """What the child is to load."""

    folder: str
    manifest: dict[str, Any]
    version: str = ""
    threads: int = 1
    budget: Budget = Budget()


class _Tensor(msgspec.Struct, frozen=True, array_like=True):
    name: str
    datatype: str
    shape: tuple[int, ...]
    data: bytes


class _Ready(msgspec.Struct, frozen=True, tag="ready"):
    test: SelfTest


class _Answer(msgspec.Struct, frozen=True, tag="answer"):
    seconds: float
    outputs: list[_Tensor]


class _Refused(msgspec.Struct, frozen=True, tag="refused"):
    message: str
    seconds: float = 0.0


class _Ask:
    """A request on its way to the child."""

    def __init__(self, inputs: Arrays, outputs: Arrays | None, done: threading.Event) -> None:
        self.inputs, self.outputs, self.done = inputs, outputs, done
        self.answer: Arrays | None = None


class _Gone(Exception):
    """The child has ended, or has to. `killed`: by somebody else, which is not its fault."""

    def __init__(self, message: str, *, killed: bool = False) -> None:
        super().__init__(message)
        self.killed = killed


_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(_Ready | _Answer | _Refused).decode


class Candidate:
    """A package on trial. `trouble`: why it ended; `to_blame`: whether that is the package's own fault. `hear`: told
    what it was asked and has answered."""

    def __init__(self, task: CandidateTask, trial: Trial) -> None:
        self.selftest: SelfTest | None = None
        self.trouble = ""
        self.to_blame = False
        self.hear: Callable[[Arrays, Arrays], None] | None = None
        self._task = task
        self._trial = trial
        self._stable, self._own = Counted(), Counted()
        self._pairs: list[bool] = []
        self._lock = threading.Lock()
        self._asked: queue.Queue[_Ask | None] = queue.Queue(MOST_WAITING)
        self._rows = 0
        self._due = 0.0
        self._ready = threading.Event()
        self._limit = _available() // 2
        self._link, theirs = socket.socketpair()
        self._link.settimeout(LONGEST_ANSWER)
        words = [sys.executable, "-P", "-m", "argosy_edge.candidate", str(theirs.fileno())]
        with theirs:
            self._process = subprocess.Popen(
                words,
                pass_fds=(theirs.fileno(),),
                start_new_session=True,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
            )
        self._thread = threading.Thread(target=self._run, name="candidate", daemon=True)
        self._thread.start()

    def wait(self, timeout: float = LONGEST_LOAD) -> SelfTest:
        """What came of its golden examples. Raises BadPackage where it is to blame, Unavailable where it is not."""
        self._ready.wait(timeout)
        if self.selftest is not None and not self.trouble:
            return self.selftest
        raise (BadPackage if self.to_blame else Unavailable)(self.trouble or f"not loaded within {timeout:g} s")

    def beside(self, inputs: Arrays, outputs: Arrays | AgentError, seconds: float) -> Arrays | None:
        """Hear of a request that the slot before has answered, in so many seconds of the processor. Returns the answer
        that the caller gets instead, if any."""
        if self.selftest is None or self.trouble:
            return None
        failed = isinstance(outputs, AgentError)
        self._stable.add(max(seconds, FLOOR), failed)
        ask = _Ask(inputs, None if isinstance(outputs, AgentError) else outputs, threading.Event())
        with contextlib.suppress(queue.Full):
            self._asked.put_nowait(ask)
            if self._trial.mode == "live" and self._turn() and ask.done.wait(LIVE_WAIT):
                return ask.answer
        return None

    @property
    def pid(self) -> int:
        """Its process."""
        return self._process.pid

    @property
    def idle(self) -> bool:
        """Whether it has answered all that it was asked."""
        return not self._asked.unfinished_tasks

    def quality(self) -> Quality:
        """What both slots did since the last time."""
        with self._lock:
            pairs, self._pairs = self._pairs, []
        return Quality(stable=self._stable.take(), candidate=self._own.take(), compared=len(pairs), agreed=sum(pairs))

    def stop(self) -> None:
        """End it."""
        self._end("it was stopped", blame=False)
        with contextlib.suppress(queue.Full):
            self._asked.put_nowait(None)
        self._thread.join()

    def _turn(self) -> bool:
        """Whether this caller gets the candidate's answer: more of them the more were compared."""
        with self._lock:
            self._due += min(1.0, (self._rows + 1) / max(1, self._trial.rows))
            turn = self._due >= 1.0
            self._due -= turn
            return turn

    def _run(self) -> None:
        try:
            self._tell(self._task)
            found = self._receive(LONGEST_LOAD)
            if isinstance(found, _Refused):
                self._end(found.message, blame=True)
            elif isinstance(found, _Ready):
                test = found.test
                if self._task.budget.memory:
                    self._limit = _memory_of(self._process.pid) - test.memory + 3 * self._task.budget.memory // 2
                self.selftest = test
            self._ready.set()
            while not self.trouble:
                with contextlib.suppress(queue.Empty):
                    if (ask := self._asked.get(timeout=LOOK)) is not None:
                        self._ask(ask)
                    self._asked.task_done()
                self._check()
                if self._process.poll() is not None:
                    self._received(1)
        except _Gone as gone:
            self._end(str(gone), blame=not gone.killed)
        finally:
            self._end("it was stopped", blame=False)
            self._ready.set()
            with contextlib.suppress(queue.Empty):
                while (ask := self._asked.get_nowait()) is not None:
                    ask.done.set()
            self._process.wait()
            self._link.close()

    def _ask(self, ask: _Ask) -> None:
        try:
            self._tell([_packed(name, array) for name, array in ask.inputs.items()])
            found = self._receive(LONGEST_ANSWER)
            outputs = _unpacked(found.outputs) if isinstance(found, _Answer) else None
        except _Gone:
            self._own.add(0.0, failed=True)
            ask.done.set()
            raise
        ask.answer = outputs
        ask.done.set()
        self._own.add(max(getattr(found, "seconds", 0.0), FLOOR), failed=outputs is None)
        if outputs is not None and self.hear is not None:
            self.hear(ask.inputs, outputs)
        if outputs is not None and ask.outputs is not None:
            same = agrees(ask.outputs, outputs, self._trial.tolerance)
            with self._lock:
                self._pairs.append(same)
                self._rows += 1

    def _tell(self, value: Any) -> None:
        try:
            _send(self._link, value)
        except TimeoutError:
            raise _Gone(f"it took no request within {LONGEST_ANSWER:g} s") from None
        except OSError:
            raise self._gone() from None

    def _receive(self, timeout: float) -> _Ready | _Answer | _Refused:
        limit, data = time.monotonic() + timeout, bytearray()
        size = _LENGTH.size
        while len(data) < size:
            self._check()
            if time.monotonic() > limit:
                raise _Gone(f"it did not answer within {timeout:g} s")
            if select.select([self._link], [], [], LOOK)[0]:
                part = self._received(size - len(data))
                data += part
                if size == _LENGTH.size == len(data):
                    size += _LENGTH.unpack(data)[0]
                    if size > MOST_FRAME:
                        raise _Gone(f"its answer has {size} bytes; at most {MOST_FRAME} are taken")
        try:
            return _decode(memoryview(data)[_LENGTH.size :])
        except msgspec.DecodeError as error:
            raise _Gone(f"its answer cannot be read: {error}") from None

    def _received(self, most: int) -> bytes:
        try:
            part = self._link.recv(min(most, 1 << 20))
        except OSError:
            part = b""
        if not part:
            raise self._gone()
        return part

    def _gone(self) -> _Gone:
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(5)
        code = self._process.returncode
        if self.trouble:
            return _Gone(self.trouble)
        if code == -signal.SIGKILL:
            return _Gone("its process was killed: memory may be short on the device", killed=True)
        return _Gone(f"its process ended by {signal.Signals(-code).name if code and code < 0 else f'status {code}'}")

    def _check(self) -> None:
        if self._process.poll() is None and (used := _memory_of(self._process.pid)) > self._limit:
            raise _Gone(f"it takes {used} bytes of memory; it may take {self._limit}")

    def _end(self, why: str, *, blame: bool) -> None:
        with self._lock:
            if not self.trouble:
                self.trouble, self.to_blame = why, blame
        if self._process.poll() is None:
            self._process.kill()


def _send(link: socket.socket, value: Any) -> None:
    data = _encode(value)
    link.sendall(_LENGTH.pack(len(data)) + data)


def _packed(name: str, array: Array) -> _Tensor:
    datatype = next(known for known, dtype in tensors.NUMPY.items() if dtype == array.dtype)
    return _Tensor(name, datatype, array.shape, tensors.to_bytes(array))


def _unpacked(items: list[_Tensor]) -> Arrays:
    try:
        return {item.name: tensors.of_bytes(item.name, item.datatype, item.shape, item.data) for item in items}
    except AgentError as error:
        raise _Gone(f"its answer cannot be read: {error.message}") from None


def _memory_of(pid: int) -> int:
    try:
        return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except (OSError, IndexError):
        return 0


def _available() -> int:
    lines = Path("/proc/meminfo").read_text().splitlines()
    return next((int(line.split()[1]) * 1024 for line in lines if line.startswith("MemAvailable:")), 1 << 40)


def child(link: socket.socket) -> None:
    """The other side: load, pass the golden examples, answer until the parent is gone."""
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    os.nice(NICE)
    with contextlib.suppress(OSError):
        Path("/proc/self/oom_score_adj").write_text("1000")
    with link, contextlib.suppress(_Gone, ConnectionError, EOFError):
        task = msgspec.msgpack.decode(_frame(link), type=CandidateTask)
        try:
            found = model.load(task.folder, task.manifest, version=task.version, threads=task.threads)
            _send(link, _Ready(found.selftest(task.budget)))
        except AgentError as error:
            _send(link, _Refused(error.message))
            return
        while True:
            inputs = _unpacked(msgspec.msgpack.decode(_frame(link), type=list[_Tensor]))
            started = time.thread_time()
            try:
                outputs = found.answer(inputs)
            except AgentError as error:
                _send(link, _Refused(error.message, time.thread_time() - started))
                continue
            spent = time.thread_time() - started
            _send(link, _Answer(spent, [_packed(name, array) for name, array in outputs.items()]))


def _frame(link: socket.socket) -> bytes:
    with link.makefile("rb", buffering=0) as file:
        return _exactly(file, _LENGTH.unpack(_exactly(file, _LENGTH.size))[0])


def _exactly(file: Any, size: int) -> bytes:
    data = bytearray()
    while len(data) < size:
        if not (part := file.read(size - len(data))):
            raise EOFError
        data += part
    return bytes(data)


if __name__ == "__main__":
    child(socket.socket(fileno=int(sys.argv[1])))
