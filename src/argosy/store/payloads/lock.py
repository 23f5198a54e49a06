"""Who reads or writes the files of a log, and who puts others in their place: not at the same time."""

import errno
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

from argosy.process.flock import lock
from argosy.store.payloads.layout import LOCK


@contextmanager
def shared(root: Path) -> Generator[None]:
    """Until the end of the block every file stays where it is, but for those past their time. Where nothing can be
    written (a log on a medium to read from) nobody puts files in the place of others, either.
    """
    try:
        marker = _marker(root)
    except OSError as error:
        if error.errno not in (errno.EROFS, errno.EACCES, errno.ENOENT):
            raise
        yield
        return
    with lock(marker, shared=True):
        yield


@contextmanager
def alone(root: Path) -> Generator[bool]:
    """Nobody else reads or writes until the end of the block; yields False, at once, where somebody does."""
    with lock(_marker(root), wait=False) as held:
        yield held


def _marker(root: Path) -> Path:
    marker = root / LOCK
    if not marker.exists():
        marker.touch(mode=0o600)
    return marker
