"""Services whose pods are processes of this machine: a forwarder in place of kube-proxy, and the server of their names.

    python -m tests.kubernetes.proxy URL AUTHORITY CERTIFICATE KEY RESOLVER

It listens on each port of a ClusterIP whose EndpointSlices have a ready endpoint, and passes TCP on to one of them
after the other; where there is none, connections are refused. Other than with kube-proxy, whose work is the kernel's, a
connection to an endpoint that has just died is taken and then reset. Session affinity, UDP and node ports are missing.
"""

import asyncio
import contextlib
import itertools
import socket
import struct
import sys
from collections.abc import Iterator
from functools import partial

import httpx

from tests.kubernetes.api import Object, connected, until_ended

ZONE = ".svc.cluster.local"
Place = tuple[str, int]


class Forwarder:
    """What is listened on, and where it leads."""

    def __init__(self) -> None:
        self.routes: dict[Place, list[Place]] = {}
        self._servers: dict[Place, asyncio.Server] = {}
        self._turn = itertools.count()
        self._changing = asyncio.Lock()

    async def apply(self, routes: dict[Place, list[Place]]) -> None:
        """Listen on these, each of which has a place to lead to."""
        async with self._changing:
            self.routes = routes
            for gone in self._servers.keys() - routes.keys():
                self._servers.pop(gone).close()
            for place in routes.keys() - self._servers.keys():

                async def serve(
                    reader: asyncio.StreamReader, writer: asyncio.StreamWriter, place: Place = place
                ) -> None:
                    await self._serve(place, reader, writer)

                try:
                    self._servers[place] = await asyncio.start_server(serve, *place, backlog=1024)
                except OSError as error:
                    print(f"{place}: {error}", flush=True)

    async def _serve(self, place: Place, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        found = self.routes.get(place, [])
        try:
            host, port = found[next(self._turn) % len(found)]
            inward, outward = await asyncio.wait_for(asyncio.open_connection(host, port), 5)
        except (OSError, ZeroDivisionError):
            _reset(writer)
            return
        await asyncio.gather(_pass(reader, outward, writer), _pass(inward, writer, outward))
        for each in (writer, outward):
            each.close()


async def _pass(source: asyncio.StreamReader, to: asyncio.StreamWriter, back: asyncio.StreamWriter) -> None:
    try:
        while data := await source.read(1 << 16):
            to.write(data)
            await to.drain()
        to.write_eof()
    except OSError:
        for each in (to, back):
            _reset(each)


def _reset(writer: asyncio.StreamWriter) -> None:
    with contextlib.suppress(OSError, AttributeError):
        linger = struct.pack("ii", 1, 0)
        writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
    writer.transport.abort()


class Names(asyncio.DatagramProtocol):
    """A server of names: what is in `known`, and nothing else."""

    def __init__(self) -> None:
        self.known: dict[str, list[str]] = {}

    def connection_made(self, transport: asyncio.DatagramTransport) -> None:  # pyright: ignore
        self._transport = transport

    def datagram_received(self, data: bytes, addr: Place) -> None:
        labels: list[bytes] = []
        at = 12
        while at < len(data) and data[at]:
            labels.append(data[at + 1 : at + 1 + data[at]])
            at += 1 + data[at]
        kind = int.from_bytes(data[at + 1 : at + 3])
        found = self.known.get(b".".join(labels).decode(errors="replace").lower())
        addresses = found if found and kind == 1 else []
        flags = 0x8580 if found is not None else 0x8583  # an answer with authority; the second: no such name
        head = data[:2] + struct.pack("!5H", flags, 1, len(addresses), 0, 0)
        records = [struct.pack("!HHHIH", 0xC00C, 1, 1, 1, 4) + socket.inet_aton(each) for each in addresses]
        self._transport.sendto(head + data[12 : at + 5] + b"".join(records), addr)


class Cluster:
    """The Services and EndpointSlices of a cluster."""

    def __init__(self, master: Place) -> None:
        self.services: dict[str, Object] = {}
        self.slices: dict[str, Object] = {}
        self.changed = asyncio.Event()
        self._master = master

    def listed(self, kind: str, items: list[Object]) -> None:
        """These are all."""
        table = getattr(self, kind)
        table.clear()
        table |= {each["metadata"]["uid"]: each for each in items}
        self.changed.set()

    def seen(self, kind: str, event: str, each: Object) -> None:
        """One has changed."""
        table = getattr(self, kind)
        table[each["metadata"]["uid"]] = each
        if event == "DELETED":
            del table[each["metadata"]["uid"]]
        self.changed.set()

    def _slices(self, service: Object) -> Iterator[Object]:
        name, namespace = service["metadata"]["name"], service["metadata"]["namespace"]
        for each in self.slices.values():
            metadata = each["metadata"]
            if (
                metadata["namespace"] == namespace
                and metadata.get("labels", {}).get("kubernetes.io/service-name") == name
            ):
                yield each

    def routes(self) -> dict[Place, list[Place]]:
        """Where the ports of Services lead, those with ready endpoints."""
        found: dict[Place, list[Place]] = {}
        for service in self.services.values():
            address, metadata = service["spec"].get("clusterIP"), service["metadata"]
            if not address or address == "None":
                continue
            for port in service["spec"].get("ports", []):
                if (metadata["namespace"], metadata["name"]) == ("default", "kubernetes"):
                    found[address, port["port"]] = [self._master]
                    continue
                for each in self._slices(service):
                    inner = [to["port"] for to in each["ports"] or [] if to.get("name", "") == port.get("name", "")]
                    places = [(ip, to) for ip, _ in _ready(each) for to in inner]
                    if places and port.get("protocol", "TCP") == "TCP":
                        found.setdefault((address, port["port"]), []).extend(places)
        return found

    def names(self) -> dict[str, list[str]]:
        """The addresses of all names."""
        found: dict[str, list[str]] = {}
        for service in self.services.values():
            name = f"{service['metadata']['name']}.{service['metadata']['namespace']}{ZONE}"
            address = service["spec"].get("clusterIP")
            found[name] = [address] if address and address != "None" else []
            if address == "None":
                for ip, host in [each for found in self._slices(service) for each in _ready(found)]:
                    found[name].append(ip)
                    if host:
                        found[f"{host}.{name}"] = [ip]
        return found


def _ready(found: Object) -> Iterator[tuple[str, str]]:
    """Address and host name of the ready endpoints of an EndpointSlice."""
    for each in found["endpoints"] or []:
        if each.get("conditions", {}).get("ready", True):
            yield each["addresses"][0], each.get("hostname", "")


async def main(url: str, authority: str, certificate: str, key: str, resolver: str) -> None:
    """Forward and answer until SIGTERM."""
    master = (httpx.URL(url).host, httpx.URL(url).port or 443)
    cluster, forwarder, names = Cluster(master), Forwarder(), Names()
    await asyncio.get_running_loop().create_datagram_endpoint(lambda: names, local_addr=(resolver, 53))

    async def apply() -> None:
        while True:
            await cluster.changed.wait()
            cluster.changed.clear()
            names.known = cluster.names()
            await forwarder.apply(cluster.routes())
            await asyncio.sleep(0.02)  # the changes of a moment at once

    paths = {"services": "/api/v1/services", "slices": "/apis/discovery.k8s.io/v1/endpointslices"}
    async with connected(url, authority, certificate, key) as api:
        follows = [
            api.follow(path, {}, partial(cluster.listed, kind), partial(cluster.seen, kind))
            for kind, path in paths.items()
        ]
        await until_ended(asyncio.gather(apply(), *follows))


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
