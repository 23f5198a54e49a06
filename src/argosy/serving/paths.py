"""The REST paths of the protocol, from text to what they ask for."""

from functools import lru_cache
from typing import NamedTuple
from urllib.parse import unquote


class Route(NamedTuple):
    """An operation, the methods it takes, and the model it is about."""

    operation: str
    method: str
    model: str = ""
    version: str = ""


_FIXED = {
    "/v2": Route("server", "GET"),
    "/v2/": Route("server", "GET"),
    "/v2/health/live": Route("live", "GET"),
    "/v2/health/ready": Route("ready", "GET"),
    "/v2/models/stats": Route("stats", "GET"),
    "/v2/repository/index": Route("index", "POST"),
    "/metrics": Route("metrics", "GET"),
    "/openapi.json": Route("openapi", "GET"),
}
_OF_MODEL = {"": "GET", "ready": "GET", "config": "GET", "stats": "GET", "infer": "POST"}


LONGEST = 1024
"""Characters of the longest path there is: names have at most 63, each of at most three."""


@lru_cache(maxsize=1024)
def parse(path: str) -> Route | None:
    """A percent-encoded path of at most `LONGEST` characters → what it asks for; None when there is nothing of that
    name."""
    fixed = _FIXED.get(path)
    if fixed is not None:
        return fixed
    parts = [unquote(part) for part in path.split("/")]
    if parts[:3] == ["", "v2", "repository"] and len(parts) == 6 and parts[3] == "models":
        return Route(parts[5], "POST", parts[4]) if parts[5] in ("load", "unload") and parts[4] else None
    if parts[:3] != ["", "v2", "models"] or len(parts) < 4 or not parts[3]:
        return None
    rest = parts[4:]
    version = ""
    if len(rest) >= 2 and rest[0] == "versions" and rest[1]:
        version, rest = rest[1], rest[2:]
    what = rest[0] if rest else ""
    if len(rest) > 1 or what not in _OF_MODEL:
        return None
    return Route(what or "model", _OF_MODEL[what], parts[3], version)
