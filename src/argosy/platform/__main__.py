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
    except (ArgosyError, OSError) as found:
        error = found if isinstance(found, ArgosyError) else _translated(found)
        print(f"{error.code}: {error.message}", file=sys.stderr)
        return error.exit
    return 0


def _translated(error: OSError) -> ArgosyError:
    if error.errno in FULL:
        return StorageFull(f"no space left on the device ({error.filename or 'while writing'}); nothing was started")
    raise error


if __name__ == "__main__":
    sys.exit(main())
