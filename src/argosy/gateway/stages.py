"""The order in which a changed snapshot is written: what is new is there before anything leads to it."""

from collections.abc import Iterator

from argosy.gateway.snapshot import CDS, LDS, RDS, SDS
from argosy.gateway.xds import Resource

Files = dict[str, list[Resource]]


def stages(before: Files, changed: Files) -> Iterator[Files]:
    """`changed` in parts, each of which must be in use before the next is written.

    Hosts that come, certificates, clusters, routes, listener, and last the clusters that only lose hosts: until then
    routes may still lead there. Files that were not there before are written before all of this: nobody reads them yet.
    """
    hosts = {file: each for file, each in changed.items() if file in before and file not in (CDS, RDS, LDS, SDS)}
    shrinking = {file for file, each in hosts.items() if _ready(each) < _ready(before[file])}
    yield {file: each for file, each in hosts.items() if file not in shrinking}
    if SDS in changed and SDS in before:
        yield {SDS: changed[SDS]}
    for file in (CDS, RDS, LDS):
        if file in changed:
            yield {file: changed[file]}
    yield {file: hosts[file] for file in sorted(shrinking)}


def _ready(resources: list[Resource]) -> set[str]:
    return {
        str(host["endpoint"]["address"])
        for assignment in resources
        for locality in assignment["endpoints"]
        for host in locality["lb_endpoints"]
        if host["health_status"] == "HEALTHY"
    }
