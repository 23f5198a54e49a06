"""Run functions of ours in a child process: a job goes in, an answer comes out, whatever happens to the child.

    with Child("digits:1", timeout=600.0) as child:
        child.run("argosy.packaging.load:check", Check(folder="/x"), float)

`python -m argosy.process.child NICE FUNCTION` reads jobs from its standard input, a line of JSON for each, and writes
one line of JSON for each to its standard output; what the function prints goes to a log.
"""

import importlib
import inspect
import os
import select
import signal
import sys
import tempfile
import threading
import time
import traceback
import typing
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Self, TypeVar

import msgspec

from argosy.process import launch, sandbox, tail
from argosy.process.process import Process, cannot_start, spawn
from argosy.process.sandbox import Policy
from argosy.spec import crash
from argosy.spec.errors import ArgosyError, Internal, Unavailable, table

MODULE = "argosy.process.child"
PACKAGE = "argosy"
"""Where the functions are that a child runs."""
DETAIL = 16_384
"""Characters of a traceback that the child sends, at most."""
MAX_ANSWER = 64 * 1024 * 1024
ONE_THREAD: dict[str, str] = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")
"""Variables that keep numerical libraries to one thread."""
_DYING = 5.0
"""Seconds from the close of its pipe to the end of a child, before it is killed."""

T = TypeVar("T")


class Invocation(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One line to the child: `function` is `module:name`, called with `job` as the type of its parameter."""

    function: str
    job: msgspec.Raw


class Outcome(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One line from the child: the value; the code and message of an ArgosyError; or how else the function failed.
    `detail` is the traceback of what the message stands for."""

    value: msgspec.Raw = msgspec.Raw(b"null")
    code: str = ""
    message: str = ""
    detail: str = ""


class Child:
    """One child process, called `what` in messages, that starts at the first job and ends with the `with`.

    `timeout` bounds each job, in seconds. A child that dies, hangs or answers nonsense, and a function that raises what
    is no ArgosyError, is a `failure`. With a `policy` the child is in a sandbox, can write to an empty folder of its
    own besides, and does not outlive this process. `environ` is added to its environment, `nice` to its niceness.
    Jobs are run by one thread at a time; `cancel` may be called by any.
    """

    def __init__(
        self,
        what: str,
        *,
        timeout: float,
        failure: type[ArgosyError] = Internal,
        policy: Policy | None = None,
        environ: Mapping[str, str] | None = None,
        nice: int = 0,
    ) -> None:
        self.what, self.timeout = what, timeout
        self.policy = policy
        self._failure, self._environ, self._nice = failure, environ or {}, nice
        self._process: Process | None = None
        self._folder: tempfile.TemporaryDirectory[str] | None = None
        self._pipes: tuple[int, int] = (-1, -1)
        self._cancelled = False
        self._lock = threading.Lock()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def run(self, function: str, job: msgspec.Struct, answer: type[T]) -> T:
        """Call the function with the job, in the child. An ArgosyError raised there is raised here; the child that
        failed is ended, and the next job gets a new one. Raises Unavailable after `cancel`."""
        call = Invocation(function=function, job=msgspec.Raw(msgspec.json.encode(job)))
        try:
            if self._process is None:
                self._start(function)
            outcome = msgspec.json.decode(self._exchange(msgspec.json.encode(call) + b"\n"), type=Outcome)
            if not outcome.code and not outcome.message:
                return msgspec.json.decode(outcome.value, type=answer)
        except (msgspec.MsgspecError, UnicodeDecodeError) as error:
            self.close()
            raise self._failure(f"{self.what} made the child process answer nonsense: {error}") from None
        except BaseException:
            self.close()
            raise
        kind, what = (table().get(outcome.code, Internal), "") if outcome.code else (self._failure, f"{self.what} ")
        error = kind(what + outcome.message)
        if outcome.detail:
            error.add_note("in the child process:\n" + outcome.detail)  # which tracebacks show, and messages do not
        raise error

    def cancel(self) -> None:
        """End the child, and start none any more."""
        with self._lock:
            self._cancelled = True
            if self._process is not None:
                self._process.end()

    def close(self) -> None:
        """End the child, if there is one, with all that it started."""
        with self._lock:
            process, self._process = self._process, None
        if process is not None:
            process.end()
            for pipe in self._pipes:
                os.close(pipe)
        if self._folder is not None:
            self._folder.cleanup()
            self._folder = None

    def _start(self, function: str) -> None:
        self._folder = tempfile.TemporaryDirectory(prefix="argosy-", ignore_cleanup_errors=True)
        work = Path(self._folder.name) / "work"
        work.mkdir()
        arguments = (str(self._nice), function)
        if self.policy is None:
            child = launch.ours(MODULE, *arguments, folder=work, more=self._environ)
        else:
            policy = self.policy._replace(writes=(str(work), *self.policy.writes), parent=os.getpid())
            child = launch.model(MODULE, *arguments, folder=work, policy=policy, more=self._environ)
        with self._lock:
            if self._cancelled:
                raise Unavailable(f"{self.what} was not begun, since the platform ends")
            try:
                (theirs_in, ours_in), (ours_out, theirs_out) = os.pipe(), os.pipe()
            except OSError as error:
                raise cannot_start(self.what, error) from error
            self._pipes = ours_in, ours_out
            try:
                self._process = spawn(child.command, child.environ, self._log, {0: theirs_in, 1: theirs_out})
            except BaseException:
                os.close(ours_in)
                os.close(ours_out)
                raise
            finally:
                os.close(theirs_in)
                os.close(theirs_out)
        os.set_blocking(ours_in, False)

    @property
    def _log(self) -> Path:
        assert self._folder is not None
        return Path(self._folder.name) / "log"

    def _exchange(self, line: bytes) -> bytes:
        """Send one line, receive one line."""
        pipe_in, pipe_out = self._pipes
        poll = select.poll()
        poll.register(pipe_out, select.POLLIN)
        poll.register(pipe_in, select.POLLOUT)
        answer, rest, deadline = bytearray(), memoryview(line), time.monotonic() + self.timeout
        while not answer.endswith(b"\n"):
            events = dict(poll.poll(max(deadline - time.monotonic(), 0) * 1000))
            if not events:
                message = f"{self.what} did not finish within {self.timeout:g} s and was stopped"
                raise self._failure(message + self._last_words())
            if pipe_in in events:
                try:
                    rest = rest[os.write(pipe_in, rest) :]
                except BrokenPipeError:
                    rest = rest[:0]
                if not rest:
                    poll.unregister(pipe_in)
            if pipe_out in events:
                chunk = os.read(pipe_out, 1024 * 1024)
                if not chunk:
                    raise self._failure(f"{self.what} {self._ending()}{self._last_words()}")
                answer += chunk
                if len(answer) > MAX_ANSWER:
                    raise self._failure(f"{self.what} made the child process answer with over {MAX_ANSWER} bytes")
        return bytes(answer)

    def _ending(self) -> str:
        """How the child ended, in words; it has closed its pipe."""
        assert self._process is not None
        status = self._process.end(_DYING)
        if status == -signal.SIGXCPU:
            return "used up its processor time and was stopped"
        if status is not None and status < 0:
            return f"crashed the process that ran it ({signal.Signals(-status).name})"
        return f"ended the process that ran it (exit status {status})"

    def _last_words(self) -> str:
        words = tail.last_words(self._log)[:300]
        return f"; its last words: {words}" if words else ""


def perform(call: Invocation) -> Outcome:
    """Call the function. Only modules of this package have functions that a child runs."""
    module, _, name = call.function.partition(":")
    try:
        if module.partition(".")[0] != PACKAGE:
            raise ValueError(f"{call.function} is no function of this package")
        function: Any = getattr(importlib.import_module(module), name)
        (parameter,) = inspect.signature(function).parameters
        job = msgspec.json.decode(call.job, type=typing.get_type_hints(function)[parameter])
        return Outcome(value=msgspec.Raw(msgspec.json.encode(function(job))))
    except ArgosyError as error:
        below = error.__cause__ or error.__context__
        return Outcome(code=error.code, message=error.message, detail=_detail(below) if below else "")
    except MemoryError:
        return Outcome(message="needs more memory than it may have")
    except Exception as error:
        text = " ".join(str(error).split())[:400]
        return Outcome(message=f"failed with {type(error).__name__}: {text}", detail=_detail(error))


def _detail(error: BaseException) -> str:
    """A traceback without what would move the cursor of a terminal."""
    lines = "".join(traceback.format_exception(error))[-DETAIL:]
    return "".join(each if each.isprintable() or each == "\n" else " " for each in lines)


def main() -> int:
    """The child: answer jobs until there are no more."""
    os.nice(int(sys.argv[1]))
    crash.tell()
    sandbox.seal()
    calls, answers = os.fdopen(os.dup(0), "rb"), os.dup(1)
    nowhere = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nowhere, 0)
    os.dup2(2, 1)
    for line in calls:
        answer = msgspec.json.encode(perform(msgspec.json.decode(line, type=Invocation))) + b"\n"
        while answer:
            answer = answer[os.write(answers, answer) :]
    return 0


if __name__ == "__main__":
    status = main()
    os._exit(status)
