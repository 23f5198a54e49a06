"""The platform as users run it, for the tests of this folder."""

from tests.platform.up import home, settings, start, store

__all__ = ["home", "settings", "start", "store"]
