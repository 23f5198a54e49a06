"""What the gateway has counted, per endpoint and revision."""

import msgspec

from argosy.gateway.admin import Admin

FIELDS = {
    "upstream_rq_total": "requests",
    "upstream_rq_active": "active",
    "upstream_rq_5xx": "errors",
    "upstream_rq_retry": "retries",
    "upstream_rq_timeout": "timeouts",
    "upstream_rq_pending_overflow": "overflows",
    "upstream_cx_connect_fail": "connect_failures",
    "membership_total": "hosts",
    "membership_healthy": "healthy_hosts",
}
"""Envoy's statistic of a cluster → our name. Requests count attempts, so a retried request counts twice."""


class Traffic(msgspec.Struct, frozen=True, kw_only=True):
    """Counters since Envoy started, and gauges of now, of one revision over both protocols."""

    requests: int = 0
    active: int = 0
    errors: int = 0
    retries: int = 0
    timeouts: int = 0
    overflows: int = 0
    connect_failures: int = 0
    hosts: int = 0
    healthy_hosts: int = 0


async def traffic(admin: Admin) -> dict[tuple[str, str], Traffic]:
    """(endpoint, revision) → its traffic, retired clusters of it included; hosts are those of HTTP."""
    found = await admin.stats(rf"^cluster\..*\.({'|'.join(FIELDS)})$")
    sums: dict[tuple[str, str], dict[str, int]] = {}
    for name, value in found.items():
        cluster, _, stat = name.removeprefix("cluster.").rpartition(".")
        endpoint, revision, protocol, _ = cluster.split("/")
        if stat.startswith("membership") and protocol != "http":
            continue
        counts = sums.setdefault((endpoint, revision), {})
        counts[FIELDS[stat]] = counts.get(FIELDS[stat], 0) + int(value)
    return {key: Traffic(**counts) for key, counts in sums.items()}
