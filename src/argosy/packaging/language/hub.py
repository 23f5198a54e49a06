"""`hf:OWNER/NAME@REVISION`: models of the Hugging Face Hub, from its cache on this machine, else by its library.

A revision is pinned: a branch or tag is looked up once, and the commit is what the lineage names. Source of the layout:
huggingface_hub, "Understand caching": `models--OWNER--NAME/{refs,snapshots,blobs}`.
"""

import importlib
import os
import re
from pathlib import Path
from typing import Any

from argosy.packaging.environment import Report
from argosy.spec.errors import InvalidArgument, MissingExtra, NotFound
from argosy.spec.install import pip

SCHEME = "hf:"
_NAME = re.compile(
    r"hf:(?P<owner>[\w.-]{1,96})/(?P<name>[\w.-]{1,96})(?:/(?P<file>[\w.-]{1,200}\.gguf))?(?:@(?P<revision>[\w./-]{1,200}))?"
)
_COMMIT = re.compile(r"[0-9a-f]{40}")
_WANTED = ("*.safetensors", "*.json", "*.model", "*.txt", "*.jinja", "*.md", "LICENSE*", "LICENCE*")


def is_hub(source: Path) -> bool:
    """Whether a source is named in the scheme."""
    return str(source).startswith(SCHEME)


def locate(source: Path, report: Report) -> tuple[Path, str]:
    """The folder or file of `hf:OWNER/NAME[/FILE.gguf][@REVISION]`, and its name with the commit.

    Raises InvalidArgument for what is no such name, NotFound, MissingExtra without the library where it is not here."""
    match = _NAME.fullmatch(str(source))
    if match is None or ".." in str(source):
        raise InvalidArgument(f"'{source}' is no model of the Hub: write hf:OWNER/NAME@REVISION")
    owner, name, file, revision = match["owner"], match["name"], match["file"], match["revision"] or "main"
    place = _cache() / f"models--{owner}--{name}"
    commit = _pinned(place, revision)
    folder = place / "snapshots" / commit
    if not commit or not folder.is_dir():
        folder = _fetched(f"{owner}/{name}", revision, file, report)
    found = folder / file if file else folder
    if not found.exists():
        raise NotFound(f"{owner}/{name} at {folder.name} has no {file} on this machine")
    return found, f"hf:{owner}/{name}{f'/{file}' if file else ''}@{folder.name}"


def _cache() -> Path:
    """Where the library keeps its models, as it finds it."""
    if place := os.environ.get("HF_HUB_CACHE"):
        return Path(place)
    home = (
        os.environ.get("HF_HOME") or Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache").expanduser() / "huggingface"
    )
    return Path(home) / "hub"


def _pinned(place: Path, revision: str) -> str:
    """The commit of a branch or tag, as it was last seen here; empty where it never was."""
    if _COMMIT.fullmatch(revision):
        return revision
    file = place / "refs" / revision
    text = file.read_text("utf-8", errors="replace")[:100].strip() if file.is_file() else ""
    return text if _COMMIT.fullmatch(text) else ""


def _fetched(repository: str, revision: str, file: str | None, report: Report) -> Path:
    try:
        hub: Any = importlib.import_module("huggingface_hub")
    except ImportError:
        raise MissingExtra(
            f"{repository} at {revision} is not in the cache of this machine, and fetching it needs huggingface_hub: "
            f"run  {pip()} huggingface_hub"
        ) from None
    report(f"fetching {repository} at {revision} from the Hugging Face Hub")
    try:
        wanted = [file] if file else [*_WANTED]
        return Path(hub.snapshot_download(repository, revision=revision, allow_patterns=wanted))
    except (OSError, ValueError, hub.errors.HfHubHTTPError) as error:
        first = str(error).strip().splitlines()[0][:300] if str(error).strip() else type(error).__name__
        raise NotFound(f"{repository} at {revision} could not be fetched: {first}") from None
