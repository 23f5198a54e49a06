"""Environments of the peers: each its own, installed from its pinned and hashed requirements on first use.

`python -m bench.envs NAME` installs one now: those of the case `llm` are large, or built for minutes.
"""

import hashlib
import re
import subprocess
import sys
import venv
from pathlib import Path

HERE = Path(__file__).resolve().parent
ENVS = HERE / "envs"
REQUIREMENTS = HERE / "requirements"
TOOLS = ENVS / ".tools"
WORK = ENVS / ".work"
PYTHON, STAMP = "3.11", "requirements.sha256"


def uv() -> str:
    """The path of a uv, installed with pip into an environment of its own when there is none."""
    path = TOOLS / "bin" / "uv"
    if not path.exists():
        venv.create(TOOLS, with_pip=True)
        subprocess.run([TOOLS / "bin" / "pip", "install", "-q", "uv"], check=True)
    return str(path)


def _digest(name: str) -> str:
    return hashlib.sha256((REQUIREMENTS / f"{name}.txt").read_bytes()).hexdigest()


def installed(name: str) -> Path | None:
    """The environment's folder, where it is there with the requirements of now."""
    stamp = ENVS / name / STAMP
    return ENVS / name if stamp.exists() and stamp.read_text() == _digest(name) else None


def ensure(name: str) -> Path:
    """The environment's folder; made anew when its requirements have changed since it was installed."""
    if found := installed(name):
        return found
    requirements, folder = REQUIREMENTS / f"{name}.txt", ENVS / name
    print(f"installing {name} into {folder.relative_to(HERE.parent)}", file=sys.stderr, flush=True)
    subprocess.run([uv(), "venv", "-q", "--clear", "--python", PYTHON, folder], check=True)
    install = [uv(), "pip", "install", "-q", "--python", folder / "bin" / "python", "--require-hashes", "-r"]
    subprocess.run([*install, requirements], check=True)
    (folder / STAMP).write_text(_digest(name))
    return folder


def site(name: str) -> Path:
    """The environment's site-packages."""
    return ensure(name) / "lib" / f"python{PYTHON}" / "site-packages"


def pinned(text: str, package: str) -> str:
    """The version that a requirements file pins a package to."""
    found = re.search(rf"(?im)^{re.escape(package)}(?:\[[^]]*\])?==([^\s;\\]+)", text)
    if not found:
        raise LookupError(f"{package} is not pinned there")
    return found[1]


def version(name: str, package: str) -> str:
    """The version of a package in a peer's environment."""
    return pinned((REQUIREMENTS / f"{name}.txt").read_text(), package)


if __name__ == "__main__":
    for each in sys.argv[1:]:
        print(ensure(each))
