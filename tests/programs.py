"""Programs of other projects that tests start."""

import os
import shutil
import subprocess
from pathlib import Path

import pytest

ONNXRUNTIME_WEB = ("npm", "install", "--ignore-scripts", "--no-audit", "--no-fund", "onnxruntime-web@1.30.0")


def need(*names: str) -> str:
    """The path of a program: what the variable of its first name says (CHROMIUM), or the first of these names on the
    PATH. Skips the test where there is none."""
    given = os.environ.get(names[0].upper(), "")
    found = next(filter(None, map(shutil.which, [given, *names] if given else names)), None)
    if found is None:
        variable = f", or name it by {names[0].upper()}" if names[0].isidentifier() else ""
        pytest.skip(f"{names[0]} is not installed: `make apt` does it on Debian; else put it on the PATH{variable}")
    return found


def onnxruntime_web(folder: Path) -> Path:
    """The folder, where npm has installed onnxruntime-web. Skips the test where it cannot."""
    need("npm")
    need("node")
    if subprocess.run([*ONNXRUNTIME_WEB, "--prefix", str(folder)], check=False, capture_output=True).returncode:
        pytest.skip(f"there is no onnxruntime-web: run  {' '.join(ONNXRUNTIME_WEB)}  where npm can get it")
    return folder
