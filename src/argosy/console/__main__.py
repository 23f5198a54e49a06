"""`python -m argosy.console`: the platform of a home, with its console. What `argosy up -d` starts."""

import sys

from argosy.console.app import pages
from argosy.platform.__main__ import main

if __name__ == "__main__":
    sys.exit(main(pages))
