"""Variables that a declaration gives a model: their names and values, or references to the platform's own."""

import re
from collections.abc import Mapping

from argosy.spec.errors import InvalidArgument
from argosy.spec.secret import resolved

MOST, MOST_CHARACTERS = 64, 8192
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,127}")
_RESERVED = re.compile(
    r"(LD|DYLD|GLIBC|MALLOC|ARGOSY)_.*|PYTHON.*|PATH|HOME|TMPDIR|GCONV_PATH|LOCPATH|NLSPATH|JOBLIB_MULTIPROCESSING"
)


def check(env: Mapping[str, str], where: str) -> None:
    """Raises InvalidArgument, naming `where`, for what is no variable or is the platform's to say."""
    if len(env) > MOST:
        raise InvalidArgument(f"{where} has {len(env)} variables; at most {MOST} are possible")
    for name, value in env.items():
        if not _NAME.fullmatch(name):
            raise InvalidArgument(f"{where}: '{name[:80]}' is no name of a variable: use letters, digits and _")
        if _RESERVED.fullmatch(name):
            raise InvalidArgument(
                f"{where}: {name[:80]} says where programs, libraries or files of the model lie, which is the "
                "platform's to say; leave it out"
            )
        if len(value) > MOST_CHARACTERS or "\0" in value:
            raise InvalidArgument(f"{where}.{name[:80]} must have at most {MOST_CHARACTERS} characters, and no NUL")
        if value.startswith("$") and not _NAME.fullmatch(value[1:]):
            raise InvalidArgument(f"{where}.{name[:80]}: what follows $ must be the name of a variable")


def given(env: Mapping[str, str], environ: Mapping[str, str], where: str) -> dict[str, str]:
    """The variables with what they refer to. Raises InvalidArgument where that is not set."""
    return {name: resolved(value, environ, f"{where}.{name}") for name, value in env.items()}
