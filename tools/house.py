"""The rules of the house that no linter knows, at both ends: too large and too small.

Each file has at most 400 lines, each function at most 60, and no markers of unfinished work. Over the tree, `CEILINGS`
bounds what issue 12 takes down: a change that goes past a ceiling fails, one that gets below it lowers it.
"""

import ast
import sys
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import NamedTuple

FILE_LINES = 400
FUNCTION_LINES = 60
SMALL_LINES = 60
BEARERS = 3
ROOTS = ("src", "distributions", "tests", "attack", "bench", "prove", "tools")
MARKERS = ("TO" + "DO", "FIX" + "ME", "XX" + "X:")
PRODUCTS = ("src", "distributions")
WORDS = """
hall room desk shelf book keeper crew deal course standing trail tap told seen kept look looks arm judge marks behind
ahead silence printed tell past fold hold
"""
"""Words that name no file, alone or between underscores: the field has a standard term for each."""


class Ceiling(NamedTuple):
    """The most there may be of something, and the goal. Only the lines grow with what an issue adds."""

    most: int
    goal: int


LINES = "lines of src/argosy"
CONTROL = "files of src/argosy/control"
NAMES = f"class names that more than {BEARERS} classes bear"
NAMED = "files named by a word that says nothing"
SMALL = f"modules of under {SMALL_LINES} lines with one importer"

CEILINGS = {
    LINES: Ceiling(108_600, 50_000),
    CONTROL: Ceiling(27, 27),
    NAMES: Ceiling(1, 1),
    NAMED: Ceiling(0, 0),
    SMALL: Ceiling(0, 0),
}


class Module(NamedTuple):
    """A file of Python, read once."""

    path: Path
    lines: int
    tree: ast.Module


def read(paths: list[Path]) -> dict[str, Module]:
    """Dotted name → module, for files below a folder named `src`; a package has the name of its folder."""
    found: dict[str, Module] = {}
    for path in paths:
        parts = path.with_suffix("").parts
        parts = parts[len(parts) - parts[::-1].index("src") :]
        text = path.read_text()
        name = ".".join(parts[:-1] if parts[-1] == "__init__" else parts)
        found[name] = Module(path, text.count("\n"), ast.parse(text))
    return found


def imported(modules: Mapping[str, Module], name: str) -> set[str]:
    """The other ones of `modules` that a module imports, at any place in its file."""
    found: set[str] = set()
    for node in ast.walk(modules[name].tree):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            names = {alias.name: f"{node.module}.{alias.name}" for alias in node.names}
            found |= {full if full in modules else node.module for full in names.values()}
    return {one for one in found if one in modules} - {name}


def small(modules: Mapping[str, Module]) -> list[str]:
    """Modules that belong into their only importer; packages, and what a `__main__` alone imports, do not."""
    importers: defaultdict[str, set[str]] = defaultdict(set)
    for name, module in modules.items():
        if module.path.name != "__main__.py":
            for one in imported(modules, name):
                importers[one].add(name)
    return [
        f"{modules[name].path}: {modules[name].lines} lines, imported by {next(iter(by))} alone"
        for name, by in sorted(importers.items())
        if len(by) == 1 and modules[name].lines < SMALL_LINES and modules[name].path.name != "__init__.py"
    ]


def shared_names(modules: Mapping[str, Module]) -> list[str]:
    """Class names that more than `BEARERS` classes bear."""
    names = Counter(
        node.name for module in modules.values() for node in ast.walk(module.tree) if isinstance(node, ast.ClassDef)
    )
    return [f"class {name}: {count} of them" for name, count in names.most_common() if count > BEARERS]


def measures() -> Iterator[tuple[str, int, list[str]]]:
    """What `CEILINGS` bounds: its name, how much there is, and where."""
    words = {*WORDS.split()}
    modules = read(sorted(Path("src/argosy").rglob("*.py")))
    yield LINES, sum(module.lines for module in modules.values()), []
    yield CONTROL, sum(name.split(".")[:2] == ["argosy", "control"] for name in modules), []
    for name, found in (
        (NAMES, shared_names(modules)),
        (NAMED, [str(path) for root in PRODUCTS for path in python(root) if words & {*path.stem.split("_")}]),
        (SMALL, small(modules)),
    ):
        yield name, len(found), found


def problems(path: Path) -> list[str]:
    """What is wrong with one file."""
    text = path.read_text()
    found: list[str] = []
    if (lines := text.count("\n")) > FILE_LINES:
        found.append(f"{path}: {lines} lines; at most {FILE_LINES}")
    found += [f"{path}: holds {marker}" for marker in MARKERS if marker in text]
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and node.end_lineno is not None:
            length = node.end_lineno - node.lineno + 1
            if length > FUNCTION_LINES:
                found.append(f"{path}:{node.lineno}: {node.name} has {length} lines; at most {FUNCTION_LINES}")
    return found


def python(root: str) -> list[Path]:
    """The files of Python below a folder, without those of environments."""
    return [path for path in sorted(Path(root).rglob("*.py")) if "envs" not in path.parts and not path.is_symlink()]


def main() -> int:
    """Print every measure and every problem; 1 if there is a problem."""
    files = [path for root in ROOTS for path in python(root)]
    found = [problem for path in files for problem in problems(path)]
    for name, count, where in measures():
        ceiling = CEILINGS[name]
        print(f"{name}: {count:,} (at most {ceiling.most:,}, the goal is {ceiling.goal:,})")
        if count > ceiling.most:
            found += [*where, f"{name}: {count:,}; at most {ceiling.most:,}"]
    print(*found, sep="\n") if found else print(f"{len(files)} files keep the rules of the house")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
