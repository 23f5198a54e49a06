"""The first thing that runs in a child: `python -P -m argosy.process.enter MODULE …` goes to its folder, into its
sandbox if it is to have one, and becomes the module; or the program, where an absolute path is named. It says twice a
second that it lives, where it is told a file to say it in: the time of that file is all that is left of one that is
killed."""

import contextlib
import json
import os
import runpy
import sys
import threading
import time

from argosy.process import sandbox

BEATS = "ARGOSY_BEATS"
"""The file to say it in."""
BEAT = 0.5


def main() -> None:
    """As `launch` says. Where a whole sandbox is wanted and cannot be had, the child ends with `sandbox.MISSING`."""
    start = json.loads(os.environ.pop(sandbox.VARIABLE, "{}"))
    if "folder" in start:
        os.chdir(start["folder"])
    sandbox.die_with(start.get("parent", 0))
    if "policy" in start:
        policy = sandbox.Policy(**start["policy"])
        if policy.required and (lacks := sandbox.lacks()):
            print(f"error: runtime.sandbox is required, and this machine lacks a part of it: {lacks}", file=sys.stderr)
            sys.exit(sandbox.MISSING)
        sandbox.enter(policy)
    if packages := os.environ.pop(sandbox.PACKAGES, ""):
        # Not by PYTHONPATH: that would be read before the sandbox is entered, and come before the standard library.
        installed = (place for place, path in enumerate(sys.path) if path.endswith("-packages"))
        sys.path.insert(next(installed, len(sys.path)), packages)
    if beats := os.environ.pop(BEATS, ""):
        threading.Thread(target=_beat, args=(beats,), name="beats", daemon=True).start()
    del sys.argv[0]
    if sys.argv[0].startswith("/"):
        os.execv(sys.argv[0], sys.argv)
    runpy.run_module(sys.argv[0], run_name="__main__", alter_sys=True)


def _beat(file: str) -> None:
    # Written, not touched: a sandbox lets nobody change the times of a file.
    with contextlib.suppress(OSError), open(file, "wb", buffering=0) as beats:
        while True:
            os.pwrite(beats.fileno(), b"\n", 0)
            time.sleep(BEAT)


if __name__ == "__main__":
    main()
