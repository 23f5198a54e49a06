"""The one launcher: how every Python child of ours is started. What it starts is told in `argosy.process.enter`.

Nothing in the working folder is imported (`-P`), which is one that is named. A child that runs a model is in a sandbox
before it imports anything but this room.
"""

import json
import os
import site
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

from argosy.process import sandbox
from argosy.process.sandbox import Policy

ENTER = "argosy.process.enter"
_PASSED = frozenset(
    """
    LANG LANGUAGE TZ MALLOC_ARENA_MAX LOKY_MAX_CPU_COUNT ARGOSY_PLATFORM
    OMP_NUM_THREADS OMP_THREAD_LIMIT OMP_DYNAMIC OMP_PROC_BIND OMP_PLACES OMP_WAIT_POLICY OMP_SCHEDULE
    KMP_AFFINITY KMP_BLOCKTIME KMP_DUPLICATE_LIB_OK GOMP_CPU_AFFINITY OPENBLAS_NUM_THREADS OPENBLAS_CORETYPE
    GOTO_NUM_THREADS MKL_NUM_THREADS MKL_DYNAMIC BLIS_NUM_THREADS NUMEXPR_NUM_THREADS NUMEXPR_MAX_THREADS
    VECLIB_MAXIMUM_THREADS CUDA_VISIBLE_DEVICES NVIDIA_VISIBLE_DEVICES HIP_VISIBLE_DEVICES ROCR_VISIBLE_DEVICES
    SSL_CERT_FILE SSL_CERT_DIR REQUESTS_CA_BUNDLE CURL_CA_BUNDLE
    """.split()  # noqa: SIM905
)
"""Variables that a model may see: language, time zone, threads, devices, where certificates lie, and the mark that a
platform finds its processes by."""
PINNING = frozenset(("OMP_PROC_BIND", "OMP_PLACES", "GOMP_CPU_AFFINITY", "KMP_AFFINITY"))
"""Those by which libraries give each thread its cores, which a child with the platform's own user may not: OpenMP would
end the process."""
_PATHS = ("PATH", "LD_LIBRARY_PATH")
"""Lists of folders: those of them that are not relative to the working folder."""
_OF_PYTHON = ("PYTHONHASHSEED", "PYTHONUTF8", "PYTHONIOENCODING", "PYTHONUNBUFFERED", "PYTHONFAULTHANDLER")
_OF_OURS = (*_OF_PYTHON, "PYTHONWARNINGS", "PYTHONDEVMODE", "PYTHONMALLOC", "PYTHONTRACEMALLOC", "PYTHONPYCACHEPREFIX")


class Child(NamedTuple):
    """A command and its environment, for `spawn` or for subprocess."""

    command: list[str]
    environ: dict[str, str]


def python(module: str) -> tuple[str, ...]:
    """The command that runs a module of ours; what it is told comes after."""
    return (sys.executable, "-P", "-m", ENTER, module)


def ours(
    module: str,
    *arguments: str,
    folder: Path,
    more: Mapping[str, str] | None = None,
    given: Mapping[str, str] = os.environ,
    parent: int = 0,
) -> Child:
    """A child that runs our code alone, in `folder`; `more` is added to its environment. It does not outlive the
    `parent` (0: it may)."""
    return Child([*python(module), *arguments], of_ours(folder, more or {}, given, parent))


def of_ours(
    folder: Path, more: Mapping[str, str], given: Mapping[str, str] = os.environ, parent: int = 0
) -> dict[str, str]:
    """The environment of such a child: all, but for what makes Python import something else first; and where it
    works."""
    found = {name: text for name, text in given.items() if not name.startswith("PYTHON") or name in _OF_OURS}
    if path := _absolute(given.get("PYTHONPATH", "")):
        found["PYTHONPATH"] = path
    work = {sandbox.VARIABLE: json.dumps({"folder": str(folder.absolute()), "parent": parent})}
    return found | _python() | dict(more) | work


def model(module: str, *arguments: str, folder: Path, policy: Policy, more: Mapping[str, str] | None = None) -> Child:
    """A child that runs a model, in a sandbox with `folder` to work in; `more` is added to its environment."""
    return Child([*python(module), *arguments], of_model(folder, policy, more or {}))


def of_model(
    folder: Path, policy: Policy, more: Mapping[str, str], given: Mapping[str, str] = os.environ
) -> dict[str, str]:
    """The environment of such a child: what is on the list, and what its sandbox is."""
    found = {name: text for name, text in given.items() if name in _PASSED or name.startswith("LC_")}
    found |= {name: value for name in _PATHS if (value := _absolute(given.get(name, "")))}
    found |= {name: given[name] for name in _OF_PYTHON if name in given}
    work = str(folder.absolute())
    found |= {"HOME": work, "TMPDIR": work, "PYTHONDONTWRITEBYTECODE": "1", "JOBLIB_MULTIPROCESSING": "0"}
    found |= _python() | dict(more)
    found[sandbox.VARIABLE] = json.dumps({"folder": work, "policy": policy._asdict()})
    return found if policy.user else {name: found[name] for name in found.keys() - PINNING}


def _absolute(folders: str) -> str:
    return os.pathsep.join(each for each in folders.split(os.pathsep) if os.path.isabs(each))


def _python() -> dict[str, str]:
    """Nothing is imported from the working folder; from the user's packages, only where we have them from there."""
    user = {"PYTHONUSERBASE": site.getuserbase()} if site.ENABLE_USER_SITE else {"PYTHONNOUSERSITE": "1"}
    return {"PYTHONSAFEPATH": "1"} | user
