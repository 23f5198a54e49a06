"""Where a POST goes: the URL read once, its host allowed, its addresses looked up and checked, and those connected to.

What checks and what connects see the same host and address, so that a name which answers otherwise the second time, a
redirect or another way to write an address leads nowhere else.
"""

import asyncio
import ipaddress
import socket
import urllib.request
from collections.abc import Sequence
from typing import TYPE_CHECKING

from argosy.alerting.allowed import Allowed
from argosy.spec.errors import InvalidArgument, PermissionDenied, Unavailable

if TYPE_CHECKING:
    import httpx

STANDARD = {"http": 80, "https": 443}
METADATA = ("100.100.100.200", "192.0.0.192", "168.63.129.16", "fd00:ec2::254", "fd20:ce::254")
"""Where clouds tell a machine its credentials, beside the link-local addresses."""
_NAT64 = ipaddress.ip_network("64:ff9b::/96")
Address = ipaddress.IPv4Address | ipaddress.IPv6Address


def parse(text: str, where: str) -> "httpx.URL":
    """A URL as the sender reads it. Raises InvalidArgument, which repeats nothing of it: it may be a secret."""
    import httpx

    try:
        url = httpx.URL(text)
        good = url.scheme in STANDARD and bool(url.host) and text.isprintable() and " " not in text
    except (httpx.InvalidURL, ValueError, TypeError):
        raise InvalidArgument(f"{where}: that is no address to send to") from None
    if not good:
        raise InvalidArgument(f"{where}: that is no address to send to: it begins with http:// or https://")
    return url


def _place(url: "httpx.URL") -> tuple[str, int]:
    host = url.raw_host.decode("ascii").lower().strip("[]").rstrip(".")
    return host, url.port or STANDARD[url.scheme]


def _named(url: "httpx.URL", hosts: Sequence[str]) -> bool:
    """Whether these name the host with its port."""
    host, port = _place(url)
    written = f"[{host}]" if ":" in host else host
    return f"{written}:{port}" in hosts or (port in (80, 443) and written in hosts)


def check_host(url: "httpx.URL", allowed: Allowed, where: str) -> None:
    """Raises PermissionDenied for a host that callers of the control API may not let the platform call."""
    if allowed.confined and not _named(url, allowed.allow.hosts):
        raise PermissionDenied(
            f"{where}: the host of its url may not be called: webhooks go to the hosts that allow.hosts in the "
            "platform's config.yaml names, with the port where it is not 80 or 443, and to no others"
        )


def check_secret(url: "httpx.URL", name: str, allowed: Allowed, where: str) -> None:
    """Raises PermissionDenied where the variable of this name may not be sent to this host."""
    if allowed.confined and not _named(url, allowed.allow.recipients(name) or ()):
        raise PermissionDenied(
            f"{where}: ${name} may not be sent to the host of its url: allow.secrets in the platform's config.yaml "
            "names the hosts that each variable may go to"
        )


async def addresses(url: "httpx.URL", allowed: Allowed, where: str) -> list[str]:
    """The addresses of an allowed host. Raises PermissionDenied if one of them is none to connect to; Unavailable."""
    check_host(url, allowed, where)
    host, port = _place(url)
    try:
        loop = asyncio.get_running_loop()
        async with asyncio.timeout(10):
            found = await loop.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError):
        raise Unavailable(f"{host} has no address") from None
    addresses = list(dict.fromkeys(str(each[4][0]) for each in found))
    for each in addresses:
        if not _open(each, host, allowed):
            raise PermissionDenied(
                f"{where}: {host} leads to {each}, which webhooks may not call: it is an address of this machine or "
                "link, or of a cloud's metadata; where it is meant, allow.hosts names the address itself"
            )
    return addresses


def _open(text: str, host: str, allowed: Allowed) -> bool:
    """Whether this address of a host may be connected to. Private networks are where the owner's own hosts are; what
    names an address itself means it."""
    if _literal(host) and allowed.confined:
        return True
    address = _unwrapped(ipaddress.ip_address(text))
    if address.is_link_local or address.is_multicast or address.is_unspecified or str(address) in METADATA:
        return False
    return not (allowed.confined and address.is_loopback and host != "localhost")


def _literal(host: str) -> bool:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True


def _unwrapped(address: Address) -> Address:
    """The IPv4 address that one of IPv6 stands for."""
    if isinstance(address, ipaddress.IPv4Address):
        return address
    if address in _NAT64:
        return ipaddress.IPv4Address(int(address) & 0xFFFFFFFF)
    return address.ipv4_mapped or address.sixtofour or (address.teredo or (None, None))[1] or address


def by_proxy(url: "httpx.URL") -> bool:
    """Whether the environment sends this URL to a proxy, which then looks up the name."""
    host, _ = _place(url)
    proxies = urllib.request.getproxies()
    return bool({url.scheme, "all"} & proxies.keys()) and not urllib.request.proxy_bypass(host)
