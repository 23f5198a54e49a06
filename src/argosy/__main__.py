"""`python -m argosy` is `argosy`. Better with -P, which keeps Python from looking for `argosy` where it is started."""

import sys

if not sys.flags.safe_path:
    del sys.path[0]  # where it is started: nothing there is ours

from argosy.cli.main import main

main()
