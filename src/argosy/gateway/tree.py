"""A tree of routes: the path's longest known beginning, or a header's value, leads to a short list of routes."""

from collections.abc import Iterator
from typing import Any, Literal, cast

from argosy.gateway.xds import Resource, typed


def leaf(routes: list[Resource]) -> Resource:
    """What is done here: the first of these routes that matches."""
    config = typed("envoy.config.route.v3.RouteList", routes=routes)
    return {"action": {"name": "routes", "typed_config": config}}


def tree(header: str, by: Literal["prefix", "exact"], branches: dict[str, Resource], otherwise: Resource) -> Resource:
    """A branch for each value, or each beginning of a value, of a header (`:path` is one)."""
    if not branches:
        return otherwise
    read = typed("envoy.type.matcher.v3.HttpRequestHeaderMatchInput", header_name=header)
    branching = {"input": {"name": "header", "typed_config": read}, f"{by}_match_map": {"map": branches}}
    return {"matcher": {"matcher_tree": branching, "on_no_match": otherwise}}


def leaves(node: Resource) -> Iterator[Resource]:
    """Every route of a tree."""
    if "action" in node:
        yield from node["action"]["typed_config"]["routes"]
        return
    matcher = node["matcher"]
    for by in ("prefix", "exact"):
        table = cast("dict[str, Any]", matcher["matcher_tree"].get(f"{by}_match_map", {"map": {}}))
        for branch in table["map"].values():
            yield from leaves(branch)
    yield from leaves(matcher["on_no_match"])
