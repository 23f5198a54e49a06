"""Packages of others by a lock, installed by uv: for this interpreter or for that of an image.

The environment of a model is a folder with all that its lock names. Its process looks there after the standard library
and before the packages that are installed beside Argosy, once it is in its sandbox.
"""

import hashlib
import os
import platform
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Sequence
from importlib import resources
from importlib.metadata import distribution
from pathlib import Path

from argosy.packaging import requirements
from argosy.packaging.package import Package
from argosy.process.flock import take
from argosy.process.sandbox import PACKAGES
from argosy.spec.errors import InvalidArgument, MissingExtra, Unavailable
from argosy.spec.install import extras, pip
from argosy.spec.settings import Home, load
from argosy.store.durable import replace, storage
from argosy.store.manifest import canonical

PATIENCE = 900.0
"""Seconds to wait for another process that makes an environment."""

_NO_SOLUTION = ("No solution found", "no wheels", "does not match", "unsatisfiable")
"""How uv says that it is not a matter of the network."""


def uv() -> str:
    """The program uv: of this environment, else on the PATH. Raises MissingExtra."""
    beside = Path(sys.executable).parent / "uv"
    found = str(beside) if beside.is_file() else shutil.which("uv")
    if not found:
        raise MissingExtra(f"packages are installed by uv, which is not there: run  {pip()} {extras('images')}")
    return found


def compile_lock(lines: str, *, python: str, wheels: str = "", constraints: str = "", preferred: str = "") -> str:
    """The lock of requirements, resolved within constraints: `name==version` with the digests of its files, no index
    named; for one platform, or for all; in the versions of the lock `preferred` where they fit. Raises InvalidArgument
    where nothing fits together, Unavailable where the index is not reached."""
    command = ["pip", "compile", "--quiet", "--python-version", python, "--generate-hashes", "--no-emit-index-url"]
    command += ["--no-header", "--no-annotate", *(["--python-platform", wheels] if wheels else ["--universal"])]
    with tempfile.TemporaryDirectory(prefix="argosy-lock-") as work:
        given, output = Path(work, "constraints.txt"), Path(work, "lock.txt")
        given.write_text(constraints, "utf-8")
        output.write_text(preferred, "utf-8")
        _run([*command, "--constraints", str(given), "--output-file", str(output), "-"], lines)
        return output.read_text("utf-8")


def bounds() -> str:
    """What this version of Argosy asks of the packages that it always uses, as constraints."""
    return "\n".join(each for each in distribution("argosy").requires or () if "extra ==" not in each)


def lock_of(home: Home, lines: Sequence[str]) -> str:
    """The lock of a package with these requirements, for every platform: made once, and kept in the cache of the home.
    Raises InvalidArgument, Unavailable, MissingExtra."""
    file = _lock_file(home, lines)
    if not file.exists():
        preferred = (resources.files("argosy") / "images" / "locks" / "serve.txt").read_text("utf-8")
        text = compile_lock("\n".join(lines), python="3.11", constraints=bounds(), preferred=preferred)
        file.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        replace(file, text.encode(), file.parent)
    return file.read_text("utf-8")


def ready(home: Home, lines: Sequence[str]) -> Path | None:
    """The environment that was prepared for these requirements; None where this interpreter has them, or nobody has
    prepared one."""
    return _made(home, lines) if requirements.lacking(lines) else None


def _made(home: Home, lines: Sequence[str]) -> Path | None:
    lock = _lock_file(home, lines)
    if not lock.exists():
        return None
    folder = _folder(home, lock.read_text("utf-8"))
    return folder if folder.is_dir() else None


def prepare(home: Home, package: Package, report: Callable[[str], None] = lambda step: None) -> Path | None:
    """As `ready` for a package, and make the environment where there is none: once, however many ask. None where the
    settings forbid it, and for a package that nobody vouches for, unless all that it requires are frameworks that
    Argosy knows: whoever names a package decides what runs. Raises InvalidArgument, Unavailable, MissingExtra without
    uv, StorageFull."""
    lines = package.manifest.requirements
    missing = requirements.lacking(lines)
    found = _made(home, lines) if missing else None
    allowed = load(home).store.install and (package.trusted or requirements.are_known(lines))
    if found or not missing or not allowed:
        return found
    home.cache.mkdir(parents=True, exist_ok=True, mode=0o700)
    with storage(home.cache), tempfile.TemporaryDirectory(prefix="environment-", dir=home.cache) as work:
        held = take(home.cache / "environments.lock", patience=PATIENCE)
        try:
            report(f"Installing {', '.join(missing)[:200]} into an environment of its own")
            text = lock_of(home, lines)
            folder, lock, made = _folder(home, text), Path(work, "lock.txt"), Path(work, "packages")
            if not folder.is_dir():
                lock.write_text(text, "utf-8")
                install(lock, made)
                for name in ("sitecustomize.py", "usercustomize.py"):  # would run at the start of Python
                    (made / name).unlink(missing_ok=True)
                folder.parent.mkdir(exist_ok=True, mode=0o700)
                made.rename(folder)
        finally:
            os.close(held)
    return folder


def variables(folder: Path | None) -> dict[str, str]:
    """What makes a child look for packages in an environment first; nothing without one."""
    return {PACKAGES: str(folder)} if folder else {}


def _lock_file(home: Home, lines: Sequence[str]) -> Path:
    name = hashlib.sha256(canonical([sorted(lines), bounds()])).hexdigest()
    return home.cache / "locks" / f"{name}.txt"


def _folder(home: Home, lock: str) -> Path:
    made_for = [lock, sys.implementation.cache_tag, platform.machine()]
    return home.cache / "environments" / hashlib.sha256(canonical(made_for)).hexdigest()


def install(lock: Path, target: Path, python: str = "", wheels: str = "") -> None:
    """Install what a lock names into the folder `target`, from wheels alone, each checked against its digest: for this
    interpreter, or for another version and platform. uv keeps downloads. Raises InvalidArgument for what has no wheel,
    Unavailable where the index is not reached."""
    command = ["pip", "install", "--quiet", "--target", str(target), "--no-deps", "--require-hashes"]
    command += ["--only-binary", ":all:", "--requirements", str(lock)]
    elsewhere = ["--python-version", python, "--python-platform", wheels]
    _run(command + (elsewhere if python else ["--python", sys.executable]), where=f"for {wheels}" if python else "here")


def _run(arguments: list[str], given: str = "", where: str = "here") -> str:
    environ = os.environ | {"NO_COLOR": "1"}
    ran = subprocess.run([uv(), *arguments], input=given, env=environ, capture_output=True, text=True, check=False)
    if ran.returncode == 0:
        return ran.stdout
    said = " ".join(ran.stderr.split())
    if any(each in said for each in _NO_SOLUTION):
        raise InvalidArgument(f"these requirements cannot be installed together {where}: {said[:600]}")
    raise Unavailable(
        f"uv could not get the packages: {said[:600]}. What was installed once comes from the cache of uv; where it "
        "gets the rest is said by the configuration of uv and by its environment"
    )
