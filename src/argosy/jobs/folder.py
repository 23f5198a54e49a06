"""The folder of one run of a job: the request for its process, and what the process reports."""

from pathlib import Path
from typing import TypeVar

import msgspec

from argosy.alerting.allowed import Allowed
from argosy.process import launch
from argosy.spec.batch import BatchJob
from argosy.spec.settings import Home
from argosy.store import durable

T = TypeVar("T")

COMMAND = launch.python("argosy.client.job")
"""What runs a job; the run's folder is its only argument."""


class RunRequest(msgspec.Struct, frozen=True, kw_only=True):
    """What a process has to do, and the places that it may read and write. `idle`: only on cores that nobody else
    wants. `slots`: the socket that takes rows of the job of this `name` for idle slots. `own`: it does not
    wait for what is idle, since its deadline is near."""

    batch: BatchJob
    name: str = ""
    slots: str = ""
    own: bool = False
    idle: bool = True
    allowed: Allowed = Allowed()


class Progress(msgspec.Struct, frozen=True, kw_only=True):
    """How far it is: rows of the input that are done, and of how many (None: not known before it is read), rows a
    second, seconds left (None: not known yet), and what it cost so far, given a price."""

    rows: int = 0
    total: int | None = None
    rate: float = 0.0
    left: float | None = None
    cost: float | None = None


class Result(msgspec.Struct, frozen=True, kw_only=True):
    """How a process ended: its exit status, what was wrong, and the path of the report."""

    exit: int
    error: str = ""
    report: str = ""


class Folder:
    """The files of a run, under `HOME/jobs/<run>`."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.log = path / "log"

    @classmethod
    def of(cls, home: Home, run: str) -> "Folder":
        """The folder of a run, which its id names."""
        return cls(home.root / "jobs" / run)

    def begin(self, request: RunRequest) -> None:
        """Write what is to be done, durably, and forget how an earlier attempt ended. Raises StorageFull."""
        self.path.mkdir(parents=True, exist_ok=True, mode=0o700)
        (self.path / "result.json").unlink(missing_ok=True)
        durable.replace(self.path / "job.json", msgspec.json.encode(request), self.path, mode=0o600)

    def request(self) -> RunRequest:
        return msgspec.json.decode((self.path / "job.json").read_bytes(), type=RunRequest)

    def asked(self) -> RunRequest | None:
        """What its process was told, if there is one."""
        return self._read("job.json", RunRequest)

    def report(self, progress: Progress) -> None:
        durable.say(self.path / "progress.json", msgspec.json.encode(progress))

    def end(self, result: Result) -> None:
        """Say how it ended. Raises StorageFull."""
        durable.replace(self.path / "result.json", msgspec.json.encode(result), self.path, mode=0o600)

    def progress(self) -> Progress | None:
        """How far it was when it last said so."""
        return self._read("progress.json", Progress)

    def result(self) -> Result | None:
        """How it ended, if it could still say so."""
        return self._read("result.json", Result)

    def _read(self, name: str, kind: type[T]) -> T | None:
        try:
            return msgspec.json.decode((self.path / name).read_bytes(), type=kind)
        except (OSError, msgspec.MsgspecError):
            return None
