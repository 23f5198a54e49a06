"""The same package over any amount of data: files in, files out, each row exactly once.

`argosy.batch(...)` calls `client.batch.batch`: this module bears the name of that function, and so it can be called.
"""

import importlib
import sys
from types import ModuleType
from typing import Any


class _CallableModule(ModuleType):
    def __call__(self, *arguments: Any, **settings: Any) -> Any:
        return importlib.import_module("argosy.client.batch").batch(*arguments, **settings)


sys.modules[__name__].__class__ = _CallableModule
