"""Programs of other projects that tests start."""

import os
import shutil

import pytest


def need(*names: str) -> str:
    """The path of a program: what the variable of its first name says (CHROMIUM), or the first of these names on the
    PATH. Skips the test where there is none."""
    given = os.environ.get(names[0].upper(), "")
    found = next(filter(None, map(shutil.which, [given, *names] if given else names)), None)
    if found is None:
        variable = f", or name it by {names[0].upper()}" if names[0].isidentifier() else ""
        pytest.skip(f"{names[0]} is not installed: `make apt` does it on Debian; else put it on the PATH{variable}")
    return found
