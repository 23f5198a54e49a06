"""`python -m argosy.quota HOME`."""

import asyncio
import logging
import sys
from pathlib import Path

from argosy.quota.server import QuotaServer
from argosy.spec.settings import Home, load
from argosy.store.database import Database


def main(folder: str) -> None:
    """Run until told to end."""
    logging.basicConfig(level="INFO", format="%(asctime)s %(levelname)s %(message)s", stream=sys.stderr)
    home = Home(Path(folder))
    settings = load(home)
    database = Database(settings.store.database or home.database)
    asyncio.run(QuotaServer(home, database).run())


if __name__ == "__main__":
    main(sys.argv[1])
