"""The bearer tokens of the control API: files that only their owner can read."""

import hmac
import os
import secrets
from pathlib import Path

from argosy.spec.settings import Home


def path(home: Home) -> Path:
    """Where the token lies."""
    return home.run / "token"


def ensure(home: Home) -> str:
    """The token of this home, made if there is none. One that others could read is replaced."""
    return _read_or_make(path(home))


def path_of(home: Home, what: str) -> Path:
    """Where a token lies that opens one thing: `metrics`; `gateway`, by which gateways elsewhere follow; `region`,
    by which the holder of a plan gives orders. It stays when the platform ends: others hold copies."""
    return home.root / f"{what}.token"


def ensure_of(home: Home, what: str) -> str:
    """Such a token, made if there is none. One that others could read is replaced."""
    return _read_or_make(path_of(home, what))


def _read_or_make(file: Path) -> str:
    try:
        if file.stat().st_mode & 0o077 == 0 and (found := file.read_text().strip()):
            return found
        file.unlink()
    except FileNotFoundError:
        pass
    text = secrets.token_urlsafe(32)
    with os.fdopen(os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as out:
        out.write(text)
    return text


def matches(header: str, token: str) -> bool:
    """Whether an Authorization header carries the token. Takes the same time wherever they differ."""
    scheme, _, given = header.partition(" ")
    return scheme.lower() == "bearer" and hmac.compare_digest(given.strip().encode(), token.encode())
