"""`run/control.json` of a home: how to reach the platform that runs on it."""

from pathlib import Path

import msgspec

from argosy.spec.settings import Home


class RunFile(msgspec.Struct, frozen=True, kw_only=True):
    """Where the control API listens, the process that it is part of (0: on another machine), and when that started
    (seconds since 1970; text from earlier versions).

    A standby does not listen yet: its `url` is empty, and nothing is announced. Under TLS, `fingerprint` is the SHA-256
    of the certificate that the API shows, and `certificate` where that lies.
    """

    url: str
    pid: int
    started: str | float = ""
    fingerprint: str = ""
    certificate: str = ""


def control_file(home: Home) -> Path:
    """Where it lies."""
    return home.run / "control.json"
