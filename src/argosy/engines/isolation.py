"""Importing a model's own code, so that two models in one process never meet and the package folder stays as it was."""

import importlib
import itertools
import sys
import threading
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType

_serial = itertools.count()
_lock = threading.RLock()


def claim(path: Path) -> str:
    """Make the folder a package under a name nobody has, and give the name."""
    package = f"argosy_model_{next(_serial)}"
    module = ModuleType(package)
    module.__path__ = [str(path)]
    sys.modules[package] = module
    return package


def forget(package: str) -> None:
    """Drop the package and its modules from `sys.modules`."""
    for name in _loaded({package}):
        del sys.modules[name]


@contextmanager
def own_modules(path: Path) -> Generator[None]:
    """While this is open, `import helper` finds the folder's helper.py first; afterwards nobody else does.

    No bytecode is written: the folder belongs to an immutable package.
    """
    names = {entry.stem for entry in path.iterdir() if entry.suffix == ".py" or entry.is_dir()}
    with _lock:
        aside = {name: sys.modules.pop(name) for name in _loaded(names)}
        bytecode, sys.dont_write_bytecode = sys.dont_write_bytecode, True
        sys.path.insert(0, str(path))
        importlib.invalidate_caches()
        try:
            yield
        finally:
            sys.path.remove(str(path))
            sys.dont_write_bytecode = bytecode
            for name in _loaded(names):
                del sys.modules[name]
            sys.modules.update(aside)


def _loaded(names: set[str]) -> list[str]:
    return [name for name in sys.modules if name.partition(".")[0] in names]
