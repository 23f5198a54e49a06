"""`up` with the console on the home of the environment, with stand-ins for replicas."""

import asyncio
import sys
from functools import partial
from pathlib import Path

from argosy.console.app import pages
from argosy.platform.targets import local_target
from argosy.platform.up import up
from argosy.spec.errors import ArgosyError
from argosy.spec.settings import home, load

STAND_IN = (sys.executable, "-S", str(Path(__file__).parents[1] / "targets" / "stand_in.py"))

if __name__ == "__main__":
    try:
        asyncio.run(up(home(), load(home()), report=print, target=partial(local_target, command=STAND_IN), pages=pages))
    except ArgosyError as error:
        sys.exit(error.message)
