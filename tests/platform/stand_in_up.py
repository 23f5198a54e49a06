"""`up` on the home of the environment, with stand-ins for replicas."""

import asyncio
import sys
from functools import partial
from pathlib import Path

from argosy.platform.targets import local_target
from argosy.platform.up import up
from argosy.spec.errors import ArgosyError
from argosy.spec.settings import home, load

STAND_IN = (sys.executable, "-S", str(Path(__file__).parents[1] / "targets" / "stand_in.py"))

if __name__ == "__main__":
    try:
        report = partial(print, flush=True)
        asyncio.run(up(home(), load(home()), report=report, target=partial(local_target, command=STAND_IN)))
    except ArgosyError as error:
        sys.exit(error.message)
