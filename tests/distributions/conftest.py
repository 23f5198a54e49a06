"""Commands of the distributions run as those of argosy do: in this process, each test with a home of its own."""

from tests.cli.conftest import place, run

__all__ = ["place", "run"]
