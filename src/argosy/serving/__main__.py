"""`python -m argosy.serving CONFIG.json`."""

import sys

from argosy.serving.server import main

sys.exit(main(sys.argv[1:]))
