"""`python -m argosy` is `argosy`."""

from argosy.cli.main import main

main()
