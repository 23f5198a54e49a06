"""The commands by which a machine becomes part of a cluster, and leaves it: one at a time for each machine."""

import os
import re
import shutil
import time
from collections.abc import Sequence
from pathlib import Path

from argosy.process.process import Process, spawn
from argosy.process.tail import last_words
from argosy.spec.errors import ArgosyError
from argosy.spec.foreign import printable
from argosy.spec.offer import Launch

SECONDS = 600.0
"""How long a command may take."""
SAFE = re.compile(r"[A-Za-z0-9_.:][A-Za-z0-9_.:@#/-]*")
"""What a provider may call a machine, to be a word of a command that may go through a shell."""


class Commands:
    """What they say goes to `log`. One that a platform ran that was killed is run again by the next."""

    def __init__(self, log: Path) -> None:
        self._log = log
        self._running: dict[str, tuple[Process, float, int]] = {}

    def done(self, launch: Launch, words: Sequence[str]) -> str | None:
        """Begin a command for a machine, or look after it: None while it runs, then empty, or why it has failed. No
        command is done at once. Asked again after its end, it begins anew."""
        if not words:
            return ""
        if launch.id not in self._running:
            values = {"{address}": launch.address, "{machine}": launch.machine, "{launch}": launch.id}
            if wrong := [each for each in values.values() if each and not SAFE.fullmatch(each)]:
                return f"'{printable(wrong[0])[:80]}' is given to no command"
            command = [shutil.which(words[0]) or words[0], *(_filled(word, values) for word in words[1:])]
            start = self._log.stat().st_size if self._log.exists() else 0
            try:
                self._running[launch.id] = spawn(command, os.environ, self._log), time.monotonic(), start
            except ArgosyError as error:
                return error.message
        process, begun, start = self._running[launch.id]
        if not process.ended():
            if time.monotonic() - begun < SECONDS:
                return None
            process.end()
        del self._running[launch.id]
        return "" if process.status == 0 else last_words(self._log, start) or f"exit status {process.status}"

    def close(self) -> None:
        """End what runs."""
        for process, _, _ in self._running.values():
            process.end()


def _filled(word: str, values: dict[str, str]) -> str:
    for name, value in values.items():
        word = word.replace(name, value)
    return word
