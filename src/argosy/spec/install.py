"""What to give to `pip install` for a part of argosy that is missing: from where argosy itself was installed.

An installer leaves the origin in `direct_url.json` (PEP 610); without that file it was an index of packages.
"""

import shlex
from functools import cache
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path
from typing import TypedDict, cast
from urllib.parse import unquote, urlsplit


class Origin(TypedDict, total=False):
    """The parts of `direct_url.json` that say how to install again."""

    url: str
    dir_info: dict[str, bool]
    vcs_info: dict[str, str]


@cache
def _origin() -> Origin:
    """Where argosy was installed from; empty for an index."""
    import json

    try:
        text = distribution("argosy").read_text("direct_url.json")
    except PackageNotFoundError:
        return {}
    return cast("Origin", json.loads(text)) if text else {}


def _checkout(origin: Origin) -> Path | None:
    """The folder it was installed from."""
    return Path(unquote(urlsplit(origin["url"]).path)) if "dir_info" in origin and "url" in origin else None


def extras(*names: str) -> str:
    """The arguments that install extras of argosy, quoted for a shell."""
    origin, wanted = _origin(), f"[{','.join(names)}]"
    if folder := _checkout(origin):
        editable = "-e " if origin.get("dir_info", {}).get("editable") else ""
        return f"{editable}{_quoted(f'{folder}{wanted}')}"
    url = origin.get("url", "")
    if vcs := origin.get("vcs_info"):
        url = f"{vcs.get('vcs', 'git')}+{url}@{vcs.get('commit_id', '')}".rstrip("@")
    return _quoted(f"argosy{wanted} @ {url}" if url else f"argosy{wanted}")


def beside(name: str, version: str) -> str:
    """The arguments that install a distribution which is built beside argosy, as `argosy-examples`."""
    folder = _checkout(_origin())
    there = folder / "distributions" / name.removeprefix("argosy-") if folder else None
    return f"-e {shlex.quote(str(there))}" if there and there.is_dir() else f"{name}=={version}"


def _quoted(text: str) -> str:
    return f"'{text}'" if "'" not in text else shlex.quote(text)
