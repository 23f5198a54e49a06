"""The command that installs a part of argosy that is missing: with what there is, from where argosy itself came.

An installer leaves the origin in `direct_url.json` (PEP 610); without that file it was an index of packages.
"""

import shlex
import sys
from functools import cache
from importlib.metadata import PackageNotFoundError, distribution
from importlib.util import find_spec
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


def pip() -> str:
    """The command that installs into this environment: uv's where it has no pip."""
    return "pip install" if find_spec("pip") else f"uv pip install --python {shlex.quote(sys.executable)}"


def extras(*names: str) -> str:
    """The arguments that install extras of argosy, quoted for a shell."""
    origin, wanted = _origin(), f"[{','.join(names)}]"
    if folder := _checkout(origin):
        editable = "-e " if origin.get("dir_info", {}).get("editable") else ""
        return f"{editable}{_quoted(f'{folder}{wanted}')}"
    url = _repository(origin) or origin.get("url", "")
    return _quoted(f"argosy{wanted} @ {url}" if url else f"argosy{wanted}")


def _repository(origin: Origin) -> str:
    """The URL of a commit, where argosy came from one."""
    vcs = origin.get("vcs_info")
    return f"{vcs.get('vcs', 'git')}+{origin.get('url', '')}@{vcs.get('commit_id', '')}".rstrip("@") if vcs else ""


def beside(name: str, version: str) -> str:
    """The arguments that install a distribution which is built beside argosy, as `argosy-examples`."""
    origin, part = _origin(), f"distributions/{name.removeprefix('argosy-')}"
    if (folder := _checkout(origin)) and (folder / part).is_dir():
        return f"-e {shlex.quote(str(folder / part))}"
    if url := _repository(origin):
        return _quoted(f"{name} @ {url}#subdirectory={part}")
    if (url := origin.get("url", "")).startswith("file:") and url.endswith(".whl"):
        wheels = Path(unquote(urlsplit(url).path)).parent.glob(f"{name.replace('-', '_')}-{version}-*.whl")
        return next((shlex.quote(str(wheel)) for wheel in wheels), f"{name}=={version}")
    return f"{name}=={version}"


def _quoted(text: str) -> str:
    return f"'{text}'" if "'" not in text else shlex.quote(text)
