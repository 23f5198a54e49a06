"""What of the environment a child is given."""

import os
import site
from collections.abc import Mapping
from pathlib import Path

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


def of_model(environ: Mapping[str, str], home: Path) -> dict[str, str]:
    """For a child that runs a model: what is on the list, and `home` as the place for its files."""
    given = {name: text for name, text in environ.items() if name in _PASSED or name.startswith("LC_")}
    given |= {name: value for name in _PATHS if (value := _absolute(environ.get(name, "")))}
    given |= {name: environ[name] for name in _OF_PYTHON if name in environ}
    given |= {"HOME": str(home), "TMPDIR": str(home), "PYTHONDONTWRITEBYTECODE": "1"}
    return given | {"JOBLIB_MULTIPROCESSING": "0"} | _python()


def of_ours(environ: Mapping[str, str]) -> dict[str, str]:
    """For a child that runs nothing but our code: all, but for what makes Python import something else first."""
    given = {name: text for name, text in environ.items() if not name.startswith("PYTHON") or name in _OF_OURS}
    if path := _absolute(environ.get("PYTHONPATH", "")):
        given["PYTHONPATH"] = path
    return given | _python()


def _absolute(folders: str) -> str:
    return os.pathsep.join(each for each in folders.split(os.pathsep) if os.path.isabs(each))


def _python() -> dict[str, str]:
    """Nothing is imported from the working folder; from the user's packages, only where we have them from there."""
    user = {"PYTHONUSERBASE": site.getuserbase()} if site.ENABLE_USER_SITE else {"PYTHONNOUSERSITE": "1"}
    return {"PYTHONSAFEPATH": "1"} | user
