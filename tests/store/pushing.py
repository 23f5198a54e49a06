"""Run by test_crash: children that push one version after another, killed at random in the second or third."""

import itertools
import os
import random
import signal
import sys
import time
from pathlib import Path

from argosy.spec.settings import Home, Settings
from argosy.store import open_store
from argosy.store.store import Store
from tests.store.samples import model_lineage, model_manifest


def main(home: Path, folder: Path, kills: int) -> None:
    for turn in range(kills):
        ready, tell = os.pipe()
        child = os.fork()
        if child == 0:
            push(home, folder, str(turn), tell)
        for _ in range(random.randint(1, 2)):
            begun = time.monotonic()
            os.read(ready, 1)
        time.sleep(random.uniform(0, time.monotonic() - begun))
        os.kill(child, signal.SIGKILL)
        status = os.waitpid(child, 0)[1]
        assert os.WIFSIGNALED(status), status
        os.close(ready)
        os.close(tell)


def push(home: Path, folder: Path, seed: str, tell: int) -> None:
    """Never returns."""
    try:
        opened: Store = open_store(Home(home), Settings())
        for turn in itertools.count():
            (folder / "profile.json").write_text(f"{seed} {turn}")
            opened.add(folder, name="digits", manifest=model_manifest(), lineage=model_lineage())
            os.write(tell, b".")
    finally:
        os._exit(1)


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3]))
