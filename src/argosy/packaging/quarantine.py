"""Runs functions of ours in a child process that can do little harm and be killed whole.

The child is in a sandbox (`argosy.process.sandbox`): beside the libraries it reads the files that its jobs name, and
writes into the folders that they name and an empty one of its own. Limits on memory, processor time and file size keep
a model that crashes, hangs or eats memory from taking the platform with it.
"""

import contextlib
import importlib
import os
import select
import signal
import subprocess
import tempfile
import time
from pathlib import Path
from typing import IO, Any, cast

import msgspec

from argosy.process import launch, sandbox, tail
from argosy.process.cores import cores
from argosy.process.sandbox import Policy
from argosy.spec.errors import ArgosyError, BadPackage, Internal, table

GIB = 1024**3


class Limits(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Bounds on the child: wall-clock seconds for each job, bytes of address space and of one written file."""

    seconds: float = 600.0
    address_space: int = 16 * GIB
    file_size: int = 64 * GIB


class Job(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What the child does next: `function` is one of JOBS, called with `arguments`."""

    function: str
    arguments: dict[str, Any]


class Outcome(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What the child answers: a value, or the code and message of an ArgosyError."""

    value: Any = None
    code: str = ""
    message: str = ""


JOBS: dict[str, str] = {
    "scan": "argosy.packaging.scan:job",
    "examine": "argosy.packaging.examine:job",
    "convert": "argosy.packaging.convert:job",
    "check": "argosy.packaging.load:check_job",
    "labelled": "argosy.packaging.labelled:job",
}
"""The functions a child may be asked to run: JSON in, JSON out."""

_MAX_ANSWER = 64 * 1024 * 1024
_WRITTEN = "into"
"""The argument of a job that names the folder it writes to."""
_ENVIRONMENT = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1") | {
    "LANG": "C.UTF-8",
    "PYTHONHASHSEED": "0",
}


class Quarantine:
    """One child process for one model, called `what` in messages. It starts at the first job and ends with the `with`.

    Jobs share the child, and so what is imported in it. Answers are kept here: what a later job does cannot change an
    earlier one.
    """

    def __init__(self, what: str, limits: Limits | None = None) -> None:
        self.what = what
        self.limits = limits or Limits()
        self._child: subprocess.Popen[bytes] | None = None
        self._folder: tempfile.TemporaryDirectory[str] | None = None
        self._reads: frozenset[str] = frozenset()
        self._writes: frozenset[str] = frozenset()

    def __enter__(self) -> "Quarantine":
        return self

    def __exit__(self, *_: object) -> None:
        self._end()

    def run(self, function: str, arguments: dict[str, Any]) -> Any:
        """Run one of JOBS and return its value.

        An ArgosyError raised there is raised here. A child that dies, hangs or answers nonsense is BadPackage, and
        the next job gets a new one.
        """
        self._admit(arguments)
        child = self._child or self._start()
        try:
            answer = self._ask(child, msgspec.json.encode(Job(function=function, arguments=arguments)) + b"\n")
            outcome = msgspec.json.decode(answer, type=Outcome)
        except (msgspec.DecodeError, UnicodeDecodeError):
            self._end()
            raise BadPackage(f"{self.what} made the child process answer nonsense") from None
        except BaseException:
            self._end()
            raise
        if outcome.code:
            raise table().get(outcome.code, Internal)(outcome.message)
        return outcome.value

    def _admit(self, arguments: dict[str, Any]) -> None:
        """Let the child at what a job names. One that runs already cannot be let at more: the next one is."""
        writes = {arguments[_WRITTEN]} if arguments.get(_WRITTEN) else set[str]()
        reads = {each for each in arguments.values() if isinstance(each, str) and os.path.isabs(each)} - writes
        if weights := arguments.get("weights"):
            reads.add(os.path.dirname(weights))  # an ONNX file may have its data beside it
        if not (reads <= self._reads and writes <= self._writes):
            self._end()
            self._reads, self._writes = self._reads | reads, self._writes | writes

    def _start(self) -> "subprocess.Popen[bytes]":
        self._folder = tempfile.TemporaryDirectory(prefix="argosy-", ignore_cleanup_errors=True)
        work = Path(self._folder.name) / "work"
        work.mkdir()
        policy = Policy(
            reads=tuple(self._reads),
            writes=(str(work), *self._writes),
            parent=os.getpid(),
            limits=(
                ("address_space", self.limits.address_space),
                ("cpu", (int(self.limits.seconds) + 1) * len(JOBS) * cores()),
                ("file_size", self.limits.file_size),
            ),
        )
        child = launch.model("argosy.packaging.quarantine", folder=work, policy=policy, more=_ENVIRONMENT)
        with self._log.open("wb") as log:
            self._child = subprocess.Popen(
                child.command,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                cwd=work,
                env=child.environ,
                start_new_session=True,
            )
        return self._child

    @property
    def _log(self) -> Path:
        assert self._folder is not None
        return Path(self._folder.name) / "log"

    def _ask(self, child: "subprocess.Popen[bytes]", line: bytes) -> bytes:
        """Send one line, wait for one line. Raises BadPackage where none comes in time."""
        pipe_in, pipe_out = cast("IO[bytes]", child.stdin), cast("IO[bytes]", child.stdout)
        with contextlib.suppress(BrokenPipeError):
            pipe_in.write(line)
            pipe_in.flush()
        answer, deadline = bytearray(), time.monotonic() + self.limits.seconds
        while not answer.endswith(b"\n"):
            ready = select.select([pipe_out], [], [], max(deadline - time.monotonic(), 0))[0]
            if not ready:
                words = self._last_words()
                raise BadPackage(f"{self.what} did not finish within {self.limits.seconds:g} s and was stopped{words}")
            chunk = os.read(pipe_out.fileno(), 1024 * 1024)
            if not chunk:
                raise BadPackage(f"{self.what} {self._ending(child)}{self._last_words()}")
            answer += chunk
            if len(answer) > _MAX_ANSWER:
                raise BadPackage(f"{self.what} made the child process answer with over {_MAX_ANSWER} bytes")
        return bytes(answer)

    def _ending(self, child: "subprocess.Popen[bytes]") -> str:
        """How the child ended, in words; it has closed its pipe."""
        status = self._reap(child, 5.0)
        if status == -signal.SIGXCPU:
            return "used up its processor time and was stopped"
        if status < 0:
            return f"crashed the process that loaded it ({signal.Signals(-status).name})"
        return f"ended the process that loaded it (exit status {status})"

    def _reap(self, child: "subprocess.Popen[bytes]", patience: float) -> int:
        """Wait for the end, then kill what the child left behind. Until then its group cannot become another's."""
        deadline, pause = time.monotonic() + patience, 0.001
        while child.returncode is None and time.monotonic() < deadline:
            if os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None:
                break
            time.sleep(pause)
            pause = min(pause * 2, 0.05)
        if child.returncode is None:
            _kill_session(child.pid)
        return child.wait()

    def _end(self) -> None:
        child, folder = self._child, self._folder
        self._child = self._folder = None
        if child is not None:
            self._reap(child, 0.0)
            for pipe in (child.stdin, child.stdout):
                with contextlib.suppress(OSError):
                    cast("IO[bytes]", pipe).close()
        if folder is not None:
            folder.cleanup()

    def _last_words(self) -> str:
        """The last line that the child printed, bounded."""
        words = tail.last_words(self._log)[:300]
        return f"; its last words: {words}" if words else ""


def run(function: str, arguments: dict[str, Any], *, what: str, limits: Limits | None = None) -> Any:
    """One job in a child of its own. Raises as `Quarantine.run`."""
    with Quarantine(what, limits) as place:
        return place.run(function, arguments)


def _kill_session(pid: int) -> None:
    """Kill the child's process group, and its descendants that left the group while their parents live."""
    import psutil

    with contextlib.suppress(psutil.Error):
        for process in psutil.Process(pid).children(recursive=True):
            with contextlib.suppress(psutil.Error):
                process.kill()
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(pid, signal.SIGKILL)


def perform(job: Job) -> Outcome:
    """Call the function. What the model does to us becomes an error that names it."""
    module, _, name = JOBS[job.function].partition(":")
    try:
        return Outcome(value=getattr(importlib.import_module(module), name)(**job.arguments))
    except ArgosyError as error:
        return Outcome(code=error.code, message=error.message)
    except MemoryError:
        return Outcome(code="bad_package", message="the model needs more memory than a push allows")
    except Exception as error:
        text = " ".join(str(error).split())[:400]
        return Outcome(code="bad_package", message=f"the model failed with {type(error).__name__}: {text}")


def main() -> int:
    """The child: answer jobs until there are no more. What a model prints goes to the log."""
    sandbox.seal()
    questions, answers = os.fdopen(os.dup(0), "rb"), os.dup(1)
    nowhere = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nowhere, 0)
    os.dup2(2, 1)
    for line in questions:
        answer = msgspec.json.encode(perform(msgspec.json.decode(line, type=Job))) + b"\n"
        while answer:
            answer = answer[os.write(answers, answer) :]
    return 0


if __name__ == "__main__":
    status = main()
    os._exit(status)
