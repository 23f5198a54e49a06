"""Environments of the peers: each its own, installed from its pinned and hashed requirements on first use."""

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
PYTHON = "3.11"


def uv() -> str:
    """The path of a uv, installed with pip into an environment of its own when there is none."""
    path = TOOLS / "bin" / "uv"
    if not path.exists():
        venv.create(TOOLS, with_pip=True)
        subprocess.run([TOOLS / "bin" / "pip", "install", "-q", "uv"], check=True)
    return str(path)


def ensure(name: str) -> Path:
    """The environment's folder; made anew when its requirements have changed since it was installed."""
    requirements, folder = REQUIREMENTS / f"{name}.txt", ENVS / name
    digest = hashlib.sha256(requirements.read_bytes()).hexdigest()
    stamp = folder / "requirements.sha256"
    if stamp.exists() and stamp.read_text() == digest:
        return folder
    print(f"installing {name} into {folder.relative_to(HERE.parent)}", file=sys.stderr, flush=True)
    subprocess.run([uv(), "venv", "-q", "--clear", "--python", PYTHON, folder], check=True)
    install = [uv(), "pip", "install", "-q", "--python", folder / "bin" / "python", "--require-hashes", "-r"]
    subprocess.run([*install, requirements], check=True)
    stamp.write_text(digest)
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
