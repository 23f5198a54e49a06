"""The rules of the house that no linter knows: files of at most 400 lines, functions of at most 60, no markers."""

import ast
import sys
from pathlib import Path

FILE_LINES = 400
FUNCTION_LINES = 60
ROOTS = ("src", "distributions", "tests", "attack", "bench", "prove", "tools")
MARKERS = ("TO" + "DO", "FIX" + "ME", "XX" + "X:")


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


def main() -> int:
    """Print every problem; 1 if there is any."""
    files = [path for root in ROOTS for path in sorted(Path(root).rglob("*.py")) if "envs" not in path.parts]
    found = [problem for path in files for problem in problems(path)]
    print(*found, sep="\n") if found else print(f"{len(files)} files keep the rules of the house")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
