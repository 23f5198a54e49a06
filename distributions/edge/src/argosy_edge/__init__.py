"""The agent of a device: keeps a declared model package running, with or without a network.

`argosy_edge.load(folder)` gives a program of the device the model of an agent's folder, in its own process.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from argosy_edge.model import EdgeModel

__version__ = "0.1.0"


def load(folder: Path | str, manifest: Mapping[str, Any] | None = None, *, threads: int = 1) -> "EdgeModel":
    """The model that the agent of this folder has committed, else its factory model; with a `manifest` (`model.yaml` as
    a dict) the package in the folder itself. Its golden examples have been asked. Raises `errors.AgentError`."""
    from argosy_edge import serving

    return serving.opened(Path(folder), manifest, threads)
