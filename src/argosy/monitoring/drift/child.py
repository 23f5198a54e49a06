"""The process that compares whole rows, as the controller sees it."""

import subprocess
import tempfile
import threading
from pathlib import Path

import msgspec

from argosy.monitoring.drift.compute import Answer, Job
from argosy.process import launch
from argosy.spec.errors import Unavailable

SECONDS = 300.0
ONE_THREAD: dict[str, str] = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")


class Child:
    """One process at a time, in the thread that asks; `end` may be called from any other."""

    def __init__(self) -> None:
        self._process: subprocess.Popen[bytes] | None = None
        self._ended = False
        self._lock = threading.Lock()

    def run(self, job: Job, seconds: float = SECONDS) -> Answer:
        """Raises Unavailable where it says nothing in time, or was ended."""
        child = launch.ours("argosy.monitoring.drift.compute", folder=Path(tempfile.gettempdir()), more=ONE_THREAD)
        with self._lock:
            if self._ended:
                raise Unavailable("the platform ends")
            process = self._process = subprocess.Popen(
                child.command,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                env=child.environ,
                start_new_session=True,
            )
        try:
            told, said = process.communicate(msgspec.json.encode(job), timeout=seconds)
        except subprocess.TimeoutExpired:
            process.kill()
            process.communicate()
            raise Unavailable(f"whole rows were not compared within {seconds:g} s") from None
        finally:
            self._process = None
        try:
            return msgspec.json.decode(told, type=Answer)
        except msgspec.MsgspecError:
            last = said.decode(errors="replace").strip().rpartition("\n")[2][:300]
            raise Unavailable(f"the comparison of whole rows ended with {process.returncode}: {last}") from None

    def end(self) -> None:
        """Kill what runs, and start nothing more."""
        with self._lock:
            self._ended = True
            if self._process is not None:
                self._process.kill()
