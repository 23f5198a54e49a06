"""`python -m argosy.monitoring.recorder HOME`."""

import asyncio
import contextlib
import logging
import os
import sys
from pathlib import Path

from argosy.monitoring.recorder.server import serve
from argosy.spec.settings import Home

NICE = 10
"""Requests come first, where cores are short."""


def main(folder: str) -> None:
    """Run, at a low priority, until told to end."""
    logging.basicConfig(level="INFO", format="%(asctime)s %(levelname)s %(message)s", stream=sys.stderr)
    with contextlib.suppress(OSError):
        os.nice(NICE)
    asyncio.run(serve(Home(Path(folder))))


if __name__ == "__main__":
    main(sys.argv[1])
