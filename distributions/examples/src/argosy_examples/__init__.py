"""`argosy demo`: three real models on a platform of their own, with the data they have not seen."""

from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from argosy_examples.case import Case

PARTS = ("digits", "flights", "filetypes")


def part(name: str) -> "Callable[[Path, Callable[[str], None]], Case]":
    """What makes the case of one of `PARTS` in a folder, reporting its steps."""
    return import_module(f"argosy_examples.{name}").prepare
