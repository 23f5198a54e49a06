"""One process in a session of its own: started, watched, signalled. Ours by birth or adopted."""

import asyncio
import contextlib
import errno
import os
import signal
import threading
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import psutil

from argosy.process import users
from argosy.spec.errors import ArgosyError, Internal, StorageFull

KILLED = 5.0
"""Seconds from SIGKILL to the end of processes."""
_RESTORED = [signal.SIGPIPE, signal.SIGTERM, signal.SIGINT, signal.SIGHUP]


class Process:
    """A session leader. Identified by pid and start time together, so that a recycled pid is never signalled."""

    def __init__(self, process: psutil.Process, *, child: bool) -> None:
        self.pid = process.pid
        self.started = process.create_time()
        self.status: int | None = None
        self.over = 0.0
        self._process = process
        self._child = child
        self._user = users.of(process.pid)
        self._ended = False
        self._pidfd = -1
        self._asked = 0.0
        self._lock = threading.Lock()

    @property
    def user(self) -> int:
        """The user that is its own; 0 without. It becomes that user a moment after its start."""
        if not users.owned(self._user):
            self._user = users.of(self.pid)
        return self._user if users.owned(self._user) else 0

    def ended(self) -> bool:
        """Whether it is gone; then `over` is when that was seen, and `status` its exit status (negative: signal) if it
        was our child."""
        with self._lock:
            if not self._ended and self._over():
                self._ended, self.over = True, time.time()
                self.unwatch()
        return self._ended

    def _over(self) -> bool:
        if not self._child:
            return self._adopted_over()
        try:
            if os.waitid(os.P_PID, self.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is None:
                return False
            self.kill_group()
            self.status = os.waitstatus_to_exitcode(os.waitpid(self.pid, 0)[1])
        except ChildProcessError:
            return not self._process.is_running()
        return True

    def _adopted_over(self) -> bool:
        """Whether it is gone, and what is left of its group with it. A number that another process has now is not that
        of a group: the kernel gives none away that has a member."""
        with contextlib.suppress(psutil.NoSuchProcess):
            if self._process.is_running() and self._process.status() != psutil.STATUS_ZOMBIE:
                return False
        if self._process.is_running() or not psutil.pid_exists(self.pid):
            self.kill_group()
        return True

    def memory(self) -> int:
        """Resident bytes of it and its children; 0 once it is gone."""
        used = 0
        with contextlib.suppress(psutil.Error):
            for each in (self._process, *self._process.children(recursive=True)):
                with contextlib.suppress(psutil.Error):
                    used += each.memory_info().rss
        return used

    def terminate(self) -> None:
        """Ask the leader to drain and end."""
        self._signal(lambda: os.kill(self.pid, signal.SIGTERM))

    def kill(self) -> None:
        """End the leader, everything in its group and its descendants outside of it, now."""
        self._signal(self._kill_family)

    def _kill_family(self) -> None:
        found = list[psutil.Process]()
        with contextlib.suppress(psutil.Error):
            found = self._process.children(recursive=True)
        self.kill_group()
        for each in found:
            with contextlib.suppress(psutil.Error):
                each.kill()

    def stop(self, drain: float) -> None:
        """Ask it to end; kill it if it was asked `drain` seconds ago. Does not wait: call it until it has ended."""
        now = time.monotonic()
        self._asked = self._asked or now
        self.terminate() if now - self._asked < drain else self.kill()

    def wait(self, seconds: float) -> bool:
        """Whether it has ended within so many seconds."""
        deadline, pause = time.monotonic() + seconds, 0.001
        while not self.ended():
            if time.monotonic() >= deadline:
                return False
            time.sleep(pause)
            pause = min(pause * 2, 0.05)
        return True

    def end(self, patience: float = 0.0) -> int | None:
        """Kill it unless it ends within `patience` seconds; its exit status."""
        if not self.wait(patience):
            self.kill()
            self.wait(KILLED)
        return self.status

    def _signal(self, send: Callable[[], None]) -> None:
        if not self._ended and self._process.is_running():
            with contextlib.suppress(ProcessLookupError):
                send()

    def kill_group(self) -> None:
        """End what is left of the group, and all that belongs to a user of its own: a daemon has left the group."""
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self.pid, signal.SIGKILL)
        if user := self.user:
            users.end(user)

    def watch(self, changed: Callable[[], None]) -> None:
        """Call `changed` in the running loop when it ends. Where the system has no pidfd, polling has to do."""
        if not hasattr(os, "pidfd_open") or self._pidfd >= 0:
            return
        try:
            self._pidfd = os.pidfd_open(self.pid)
        except OSError:
            changed()
            return

        def readable() -> None:
            asyncio.get_running_loop().remove_reader(self._pidfd)
            changed()

        asyncio.get_running_loop().add_reader(self._pidfd, readable)

    def unwatch(self) -> None:
        if self._pidfd >= 0:
            asyncio.get_running_loop().remove_reader(self._pidfd)
            os.close(self._pidfd)
            self._pidfd = -1


def end(found: Iterable[Process | psutil.Process], drain: float = 0.0) -> int:
    """Ask all to end, and kill those that have not within `drain` seconds (0: kill at once), with their groups. How
    many there were."""
    processes: list[Process] = []
    for each in found:
        with contextlib.suppress(psutil.Error):
            mine = each if isinstance(each, Process) else Process(each, child=False)
            processes.append(mine)
            mine.terminate() if drain else mine.kill()
    limit = time.monotonic() + drain
    for process in processes:
        process.wait(limit - time.monotonic())
    for process in processes:
        process.kill()
    limit = time.monotonic() + KILLED
    for process in processes:
        process.wait(limit - time.monotonic())
    return len(processes)


def adopted(pid: int, started: float) -> Process | None:
    """The process with this number, if it is the one that started then (seconds since 1970) and has not ended."""
    with contextlib.suppress(psutil.Error):
        found = psutil.Process(pid)
        if found.create_time() == started and found.status() != psutil.STATUS_ZOMBIE:
            return Process(found, child=found.ppid() == os.getpid())
    return None


def spawn(
    command: Sequence[str],
    environ: Mapping[str, str],
    log: Path,
    files: Mapping[int, int] | None = None,
    *,
    session: bool = True,
) -> Process:
    """Start a command in its own session, or else its own group of ours, its output appended to `log`. `files`: further
    descriptors of the child, or other ones than these, by number, and ours that they come from. Raises Internal,
    StorageFull."""
    own: dict[str, Any] = {"setsid": True} if session else {"setpgroup": 0}
    append = os.O_WRONLY | os.O_APPEND | os.O_CREAT
    try:
        pid = os.posix_spawn(
            command[0],
            list(command),
            environ,
            file_actions=[
                (os.POSIX_SPAWN_OPEN, 0, os.devnull, os.O_RDONLY, 0),
                (os.POSIX_SPAWN_OPEN, 1, str(log), append, 0o600),
                (os.POSIX_SPAWN_DUP2, 1, 2),
                *((os.POSIX_SPAWN_DUP2, ours, theirs) for theirs, ours in (files or {}).items()),
            ],
            setsigmask=[],
            setsigdef=_RESTORED,
            **own,
        )
        return Process(psutil.Process(pid), child=True)
    except OSError as error:
        raise cannot_start(command[0], error) from error


def cannot_start(what: str, error: OSError) -> ArgosyError:
    """The error of ours for a start that the system refused."""
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return StorageFull(f"cannot start {what}: no space left ({error})")
    return Internal(f"cannot start {what}: {error.strerror}")
