"""Packages of others by a lock, installed by uv: for this interpreter or for that of an image."""

import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from argosy.spec.errors import InvalidArgument, MissingExtra, Unavailable
from argosy.spec.install import extras, pip

_NO_SOLUTION = ("No solution found", "no wheels", "does not match", "unsatisfiable")
"""How uv says that it is not a matter of the network."""


def uv() -> str:
    """The program uv: of this environment, else on the PATH. Raises MissingExtra."""
    beside = Path(sys.executable).parent / "uv"
    found = str(beside) if beside.is_file() else shutil.which("uv")
    if not found:
        raise MissingExtra(f"packages are installed by uv, which is not there: run  {pip()} {extras('images')}")
    return found


def compile_lock(requirements: str, *, python: str, platform: str = "", constraints: str = "") -> str:
    """The lock of requirements, resolved within constraints: `name==version` with the digests of its files, no index
    named; for one platform, or for all. Raises InvalidArgument where nothing fits together, Unavailable where the index
    is not reached."""
    command = ["pip", "compile", "--quiet", "--python-version", python, "--generate-hashes", "--no-emit-index-url"]
    command += ["--no-header", "--no-annotate", *(["--python-platform", platform] if platform else ["--universal"])]
    with tempfile.NamedTemporaryFile("w", suffix=".txt") as given:
        given.write(constraints)
        given.flush()
        return _run([*command, "--constraints", given.name, "-"], requirements)


def install(lock: Path, target: Path, *, python: str, platform: str = "") -> None:
    """Install what a lock names into the folder `target`, from wheels alone, each checked against its digest. uv keeps
    downloads. Raises InvalidArgument for what has no wheel, Unavailable where the index is not reached."""
    command = ["pip", "install", "--quiet", "--target", str(target), "--python-version", python, "--no-deps"]
    command += ["--require-hashes", "--only-binary", ":all:", "--requirements", str(lock)]
    _run(command + (["--python-platform", platform] if platform else []))


def _run(arguments: list[str], given: str = "") -> str:
    environ = os.environ | {"NO_COLOR": "1"}
    ran = subprocess.run([uv(), *arguments], input=given, env=environ, capture_output=True, text=True, check=False)
    if ran.returncode == 0:
        return ran.stdout
    said = " ".join(ran.stderr.split())
    if any(each in said for each in _NO_SOLUTION):
        raise InvalidArgument(f"these requirements cannot be installed together here: {said[:600]}")
    raise Unavailable(
        f"uv could not get the packages: {said[:600]}. What was installed once comes from the cache of uv; where it "
        "gets the rest is said by the configuration of uv and by its environment"
    )
