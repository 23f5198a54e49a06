"""`python -m argosy.platform`: the platform of the home that the environment names. What `argosy up -d` starts."""

import asyncio
import functools
import sys

from argosy.api.route import Pages, no_pages
from argosy.platform.up import up
from argosy.spec import crash
from argosy.spec.errors import ArgosyError, StorageFull
from argosy.spec.settings import home, load
from argosy.store.durable import FULL


def main(pages: Pages = no_pages) -> int:
    """Run until told to stop. The exit status is that of the error table; the last line says why."""
    crash.tell()
    try:
        place = home()
        standby = "--standby" in sys.argv[1:]
        report = functools.partial(print, flush=True)
        asyncio.run(up(place, load(place), report=report, standby=standby, pages=pages))
    except (ArgosyError, OSError) as error:
        if isinstance(error, OSError):
            if error.errno not in FULL:
                raise
            where = error.filename or "while writing"
            error = StorageFull(f"no space left on the device ({where}); nothing was started")
        print(f"{error.code}: {error.message}", file=sys.stderr)
        return error.exit
    return 0


if __name__ == "__main__":
    sys.exit(main())
