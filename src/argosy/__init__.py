"""Argosy: from a trained model file to every place it has to run."""

TYPE_CHECKING = False
if TYPE_CHECKING:
    from argosy.client import AsyncClient, Client
    from argosy.client.batch import batch
    from argosy.client.local import load

__version__ = "0.1.0"

__all__ = ["AsyncClient", "Client", "__version__", "batch", "load"]

_PLACES = {
    "AsyncClient": "argosy.client",
    "Client": "argosy.client",
    "batch": "argosy.client.batch",
    "load": "argosy.client.local",
}


def __getattr__(name: str) -> object:
    """Import what is asked for when it is asked for: `import argosy` alone brings in nothing."""
    if name not in _PLACES:
        raise AttributeError(f"module 'argosy' has no attribute '{name}'")
    from importlib import import_module

    value = getattr(import_module(_PLACES[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(__all__)
