"""The bootstrap: administration on a Unix socket, everything else from files."""

from argosy.gateway import overload, tracing
from argosy.gateway.model import GatewayConfig
from argosy.gateway.snapshot import CDS, LDS, Snapshot, xds_path
from argosy.gateway.xds import Resource, file_source


def bootstrap(config: GatewayConfig, node: str) -> Resource:
    """What Envoy is started with. `node` tells this home's Envoy from any other."""
    found: Resource = {
        **_common(config, node),
        "dynamic_resources": {
            "lds_config": file_source(xds_path(config, LDS)),
            "cds_config": file_source(xds_path(config, CDS)),
        },
    }
    return found | ({"static_resources": {"clusters": _collectors(config)}} if config.collector else {})


def static(config: GatewayConfig, snapshot: Snapshot) -> Resource:
    """The same snapshot as one static configuration, for `envoy --mode validate`."""
    listeners = [_inlined(each, snapshot) for each in snapshot.listeners.values()]
    clusters = _collectors(config) + [_with_hosts(each, snapshot) for each in snapshot.clusters.values()]
    resources: Resource = {"listeners": listeners, "clusters": clusters}
    if snapshot.secrets:
        resources["secrets"] = [_plain(each) for each in snapshot.secrets.values()]
    return {**_common(config, "validate"), "static_resources": resources}


def _common(config: GatewayConfig, node: str) -> Resource:
    values = {**overload.RUNTIME, **(tracing.GATHERED if config.collector else {})}
    return {
        "layered_runtime": {"layers": [{"name": "argosy", "static_layer": values}]},
        "node": {"id": node, "cluster": "argosy"},
        "admin": {"address": {"pipe": {"path": config.admin_socket, "mode": 0o600}}},
        "overload_manager": overload.manager(config),
        "memory_allocator_manager": overload.allocator(),
        "stats_config": {"use_all_default_tags": False},
        # Histograms show what was merged at the last flush.
        "stats_flush_interval": "1s",
    }


def _collectors(config: GatewayConfig) -> list[Resource]:
    return [tracing.cluster(config.collector)] if config.collector else []


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
    copy = {key: value for key, value in _plain(cluster).items() if key != "eds_cluster_config"}
    return {**copy, "type": "STATIC", "load_assignment": _plain(snapshot.hosts[cluster["name"]])}
