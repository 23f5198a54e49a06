"""Finding the class of a Python model by reading its code, without running it."""

import ast
from pathlib import Path

from argosy.spec.errors import InvalidArgument


def classes(path: Path) -> list[str]:
    """Top-level classes of a Python file that define both `load` and `predict`, read without running it."""
    try:
        tree = ast.parse(path.read_bytes() if path.stat().st_size < 4 * 1024 * 1024 else b"")
    except (SyntaxError, ValueError, RecursionError):
        return []
    return [node.name for node in tree.body if isinstance(node, ast.ClassDef) and {"load", "predict"} <= _methods(node)]


def _methods(node: ast.ClassDef) -> set[str]:
    return {item.name for item in node.body if isinstance(item, ast.FunctionDef | ast.AsyncFunctionDef)}


def files_with_class(folder: Path) -> list[str]:
    """`file.py:Class` for every such class in the top level of a folder."""
    files = sorted(child for child in folder.glob("*.py") if child.is_file() and not child.is_symlink())
    return [f"{file.name}:{name}" for file in files for name in classes(file)]


def class_of(path: Path) -> dict[str, str | int | float | bool]:
    """The engine's setting for the one class of a file. Raises InvalidArgument where there are several."""
    names = classes(path)
    if len(names) > 1:
        raise InvalidArgument(
            f"{path.name} has {len(names)} classes with load and predict ({', '.join(names)}); keep one"
        )
    return {"class": f"{path.stem}:{names[0]}"}
