"""Sticky callers: a hash of the caller is a point on a line of fixed length, shared out in fixed order."""

from collections.abc import Sequence

from argosy.gateway.keys import HEADER
from argosy.gateway.model import GatewayConfig, Sticky
from argosy.gateway.xds import Resource

WHOLE = 1_000_000
"""The length of the line. Envoy takes the hash modulo the sum of the weights, so the sum must never change."""


def parts(weights: Sequence[int]) -> list[int]:
    """Weights (not all 0) as lengths that add up to `WHOLE`.

    A part whose share grows while no other's does keeps all it had: its beginning does not rise, its end does not fall.
    """
    total, before, lengths = sum(weights), 0, list[int]()
    for weight in weights:
        lengths.append(WHOLE * (before + weight) // total - WHOLE * before // total)
        before += weight
    return lengths


def hash_policy(sticky: Sticky) -> list[Resource]:
    """What is hashed (xxHash64 of the value). The key's id and a new cookie are there once `lua/admit.lua` has run."""
    if sticky.by == "cookie":
        return [{"cookie": {"name": sticky.cookie}}]
    return [{"header": {"header_name": HEADER if sticky.by == "key" else sticky.name}}]


def duties(config: GatewayConfig, sticky: Sticky, path: str) -> Resource:
    """Route metadata for `lua/admit.lua`: what it does before the revision is picked anew."""
    if sticky.by == "header":
        return {}
    if sticky.by == "key":
        return {"sticky": "key"}
    secure = "; Secure" if config.tls else ""
    attributes = f"; Path={path}; Max-Age={sticky.seconds}; HttpOnly; SameSite=Lax{secure}"
    return {"sticky": "cookie", "cookie": sticky.cookie, "attributes": attributes}


def cookie_header() -> Resource:
    """The response header with the cookie, where the request had none."""
    value = {"key": "set-cookie", "value": "%DYNAMIC_METADATA(argosy:cookie)%"}
    return {"header": value, "append_action": "APPEND_IF_EXISTS_OR_ADD"}
