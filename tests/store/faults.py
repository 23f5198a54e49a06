"""Make the n-th call that changes the disk fail, or end the process."""

import errno
import os
from collections.abc import Callable, Generator
from contextlib import contextmanager
from typing import Any

CHANGES = ("write", "fsync", "fchmod", "rename", "utime", "open", "link", "mkdir")
"""Of `open` only those calls that create a file."""


@contextmanager
def at_call(number: int, act: Callable[[str], None]) -> Generator[list[str]]:
    """Call `act` in place of the call `number` (from 1) of those in CHANGES. Yields the names of the calls made."""
    made: list[str] = []
    real = {name: getattr(os, name) for name in CHANGES}

    def watch(name: str) -> Callable[..., Any]:
        def call(*arguments: Any, **options: Any) -> Any:
            if name == "open" and not arguments[1] & os.O_CREAT:
                return real[name](*arguments, **options)
            made.append(name)
            if len(made) == number:
                act(name)
            return real[name](*arguments, **options)

        return call

    for name in CHANGES:
        setattr(os, name, watch(name))
    try:
        yield made
    finally:
        for name, function in real.items():
            setattr(os, name, function)


def no_space(_call: str) -> None:
    raise OSError(errno.ENOSPC, "No space left on device")


def die(_call: str) -> None:
    os._exit(137)
