"""What must hold of every snapshot, and Envoy's own check of one."""

import asyncio
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any, cast

import msgspec

from argosy.gateway.bootstrap import bootstrap
from argosy.gateway.model import GatewayConfig
from argosy.gateway.peers import behind
from argosy.gateway.snapshot import Snapshot
from argosy.process.envoy import Resource
from argosy.spec.errors import Internal


def static(config: GatewayConfig, snapshot: Snapshot) -> Resource:
    """The same snapshot as one static configuration, for `envoy --mode validate`."""
    settings = bootstrap(config, "validate")
    del settings["dynamic_resources"]
    resources = settings.setdefault("static_resources", {"clusters": []})
    resources["listeners"] = [_inlined(each, snapshot) for each in snapshot.listeners.values()]
    resources["clusters"] += [_with_hosts(each, snapshot) for each in snapshot.clusters.values()]
    if snapshot.secrets:
        resources["secrets"] = [_plain(each) for each in snapshot.secrets.values()]
    return settings


def _plain(resource: Resource) -> Resource:
    return {key: value for key, value in resource.items() if key != "@type"}


def _inlined(listener: Resource, snapshot: Snapshot) -> Resource:
    """The listener with its route table inside."""
    routes = _plain(next(iter(snapshot.routes.values())))
    chains: list[Resource] = []
    for each in listener["filter_chains"]:
        *limits, manager = each["filters"]
        config = {key: value for key, value in manager["typed_config"].items() if key != "rds"}
        filters = [*limits, {**manager, "typed_config": {**config, "route_config": routes}}]
        tls = {"transport_socket": _static_tls(each["transport_socket"])} if "transport_socket" in each else {}
        chains.append({**each, "filters": filters, **tls})
    return {**_plain(listener), "filter_chains": chains}


def _static_tls(socket: Resource) -> Resource:
    context = dict(socket["typed_config"]["common_tls_context"])
    context["tls_certificate_sds_secret_configs"] = [
        {"name": each["name"]} for each in context["tls_certificate_sds_secret_configs"]
    ]
    return {**socket, "typed_config": {**socket["typed_config"], "common_tls_context": context}}


def _with_hosts(cluster: Resource, snapshot: Snapshot) -> Resource:
    if behind(cluster):
        return _plain(cluster)
    copy = {key: value for key, value in _plain(cluster).items() if key != "eds_cluster_config"}
    return {**copy, "type": "STATIC", "load_assignment": _plain(snapshot.hosts[cluster["name"]])}


async def validate(binary: Path, bootstrap: dict[str, Any], folder: Path) -> None:
    """Runs Envoy's own check of a configuration. Raises Internal with its message."""
    folder.mkdir(exist_ok=True)
    path = folder / "validate.json"
    path.write_bytes(msgspec.json.encode(bootstrap))
    command = [str(binary), "--mode", "validate", "-c", str(path), "--log-level", "error", "--disable-hot-restart"]
    done = await asyncio.to_thread(subprocess.run, command, capture_output=True, text=True, timeout=60, check=False)
    if done.returncode:
        raise Internal(f"Envoy refuses the configuration: {done.stderr.strip()[-2000:]}")


def check_snapshot(snapshot: Snapshot) -> None:
    """What must hold of every snapshot; a violation is a bug of ours."""
    if {name for name, each in snapshot.clusters.items() if not behind(each)} != snapshot.hosts.keys():
        raise Internal("gateway snapshot: clusters and their hosts differ")
    for table in (snapshot.listeners, snapshot.clusters, snapshot.routes, snapshot.secrets):
        for name, resource in table.items():
            if resource["name"] != name:
                raise Internal(f"gateway snapshot: '{name}' holds a resource called '{resource['name']}'")
    for weighted in routed(snapshot):
        if missing := weighted.keys() - snapshot.clusters.keys():
            raise Internal(f"gateway snapshot: a route leads to no cluster: {', '.join(sorted(missing))}")
        if sum(weighted.values()) < 1:
            raise Internal("gateway snapshot: the weights of a route add up to nothing")


def routes_of(table: Resource) -> Iterator[Resource]:
    """Every route of a route table."""
    for host in table["virtual_hosts"]:
        yield from leaves({"matcher": host["matcher"]})


def routed(snapshot: Snapshot) -> Iterator[dict[str, int]]:
    """For each forwarding route its clusters with their weights, and for each mirror its cluster."""
    for table in snapshot.routes.values():
        for route in routes_of(table):
            action = cast("dict[str, Any]", route.get("route", {}))
            for policy in action.get("request_mirror_policies", ()):
                yield {policy["cluster"]: 1}
            if "cluster" in action:
                yield {action["cluster"]: 1}
            elif "weighted_clusters" in action:
                yield {each["name"]: each["weight"] for each in action["weighted_clusters"]["clusters"]}


def leaves(node: Resource) -> Iterator[Resource]:
    """Every route of a tree."""
    if "action" in node:
        yield from node["action"]["typed_config"]["routes"]
        return
    matcher = node["matcher"]
    for each in matcher.get("matcher_list", {"matchers": []})["matchers"]:
        yield from leaves(each["on_match"])
    for by in ("prefix", "exact"):
        table = cast("dict[str, Any]", matcher.get("matcher_tree", {}).get(f"{by}_match_map", {"map": {}}))
        for branch in table["map"].values():
            yield from leaves(branch)
    yield from leaves(matcher["on_no_match"])
