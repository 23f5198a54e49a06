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
from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager
from importlib import resources
from pathlib import Path

from argosy.packaging import lock as locks
from argosy.packaging import requirements
from argosy.packaging.requirements import Needs
from argosy.process.flock import take
from argosy.process.sandbox import PACKAGES
from argosy.spec.errors import ArgosyError, InvalidArgument, MissingExtra, Unavailable
from argosy.spec.install import extras, pip
from argosy.spec.settings import Home, load
from argosy.store.durable import replace, storage
from argosy.store.manifest import canonical

Report = Callable[[str], None]

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


def lock_of(home: Home, needs: Needs, report: Report = lambda step: None) -> str:
    """The lock of a package, for every platform: that which is attached to it in the store, where the package is
    trusted and the lock fits what it requires; else one that is resolved once, kept in the cache of the home, and
    attached. Of one that others attached to a package that nobody vouches for, versions are taken and no names.
    Raises InvalidArgument, Unavailable, MissingExtra."""
    file, preferred = _lock_file(home, needs.lines), ""
    for each in locks.attached(home, needs.stored, needs.lines) if needs.stored else ():
        if each.wrong:
            report(f"A lock that is attached to {needs.stored[:19]} is left out: {each.wrong}")
        elif needs.trusted:
            return each.text
        else:
            preferred = preferred or "\n".join(locks.pins(each.text))
    with _alone(home):
        if not file.exists():
            report(f"Resolving {', '.join(needs.lines)[:200]}")
            usual = preferred or (resources.files("argosy") / "images" / "locks" / "serve.txt").read_text("utf-8")
            made = compile_lock(
                "\n".join(needs.lines), python="3.11", constraints="\n".join(locks.bounds()), preferred=usual
            )
            file.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            replace(file, made.encode(), file.parent)
    text = file.read_text("utf-8")
    if needs.stored and not preferred:
        locks.attach(home, needs.stored, text)
    return text


def wanted(
    home: Home, needs: Needs, report: Report = lambda step: None, *, elsewhere: bool = False, given: str = ""
) -> str:
    """The lock of what has to be installed for a package: one that is `given`, or its own. Nothing where all is there
    beside Argosy, unless it runs `elsewhere` and a lock can be had; where the settings forbid it; and for a package
    that nobody vouches for, unless it requires nothing but frameworks that Argosy knows: whoever names a package
    decides what runs. Raises as `lock_of`."""
    missing, known = lacking(home, needs.lines), needs.trusted or requirements.are_known(needs.lines)
    if not (missing or (elsewhere and needs.lines)) or not (known and load(home).store.install):
        return ""
    try:
        return given or lock_of(home, needs, report)
    except ArgosyError as error:
        if missing:
            raise
        report(f"What the model requires has to be installed where it runs, as it is here: {error.message}")
        return ""


def lacking(home: Home, lines: Sequence[str]) -> list[str]:
    """Those of the requirements that are not installed beside Argosy, whatever environments this process has."""
    beside = [path for path in sys.path if Path(path).parent != _environments(home)]
    return requirements.lacking(lines, lambda name: requirements.installed(name, beside))


def make(home: Home, lock: str, report: Report = lambda step: None) -> Path | None:
    """The environment of a lock, made once, however many ask; None without a lock. Raises InvalidArgument, Unavailable,
    MissingExtra without uv, StorageFull."""
    made_for = [lock, sys.implementation.cache_tag, platform.machine()]
    folder = _environments(home) / hashlib.sha256(canonical(made_for)).hexdigest()
    if not lock or folder.is_dir():
        return folder if lock else None
    with _alone(home), tempfile.TemporaryDirectory(prefix="environment-", dir=home.cache) as work:
        file, made = Path(work, "lock.txt"), Path(work, "packages")
        if not folder.is_dir():
            report(f"Installing {', '.join(locks.pins(lock))[:200]} into an environment of its own")
            file.write_text(lock, "utf-8")
            install(file, made)
            for name in ("sitecustomize.py", "usercustomize.py"):  # would run at the start of Python
                (made / name).unlink(missing_ok=True)
            folder.parent.mkdir(exist_ok=True, mode=0o700)
            made.rename(folder)
    return folder


def prepare(home: Home, needs: Needs, report: Report = lambda step: None, given: str = "") -> Path | None:
    """The environment of the lock that is `wanted`, made if need be; None without one. Raises as both."""
    return make(home, wanted(home, needs, report, given=given), report)


@contextmanager
def _alone(home: Home) -> Generator[None]:
    """One process, and one thread of it, resolves or installs at a time."""
    with storage(home.cache):
        home.cache.mkdir(parents=True, exist_ok=True, mode=0o700)
        held = take(home.cache / "environments.lock", patience=PATIENCE)
        try:
            yield
        finally:
            os.close(held)


def variables(folder: Path | None) -> dict[str, str]:
    """What makes a child look for packages in an environment first; nothing without one."""
    return {PACKAGES: str(folder)} if folder else {}


def _lock_file(home: Home, lines: Sequence[str]) -> Path:
    name = hashlib.sha256(canonical([sorted(lines), locks.bounds()])).hexdigest()
    return home.cache / "locks" / f"{name}.txt"


def _environments(home: Home) -> Path:
    return home.cache / "environments"


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
