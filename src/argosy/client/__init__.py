"""Talking to endpoints and to the platform: predictions over HTTP, the control API, and models in this process."""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from argosy.client.client import AsyncClient, Client

__all__ = ["AsyncClient", "Client"]


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module 'argosy.client' has no attribute '{name}'")
    from argosy.client import client

    return getattr(client, name)
