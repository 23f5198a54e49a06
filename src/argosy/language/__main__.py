"""`python -m argosy.language CONFIG.json`."""

import sys

from argosy.language.replica import main

sys.exit(main(sys.argv[1:]))
