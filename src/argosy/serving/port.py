"""A TCP port to listen on, or why it cannot be had and what to do; and which names are those of this machine alone."""

import contextlib
import errno
import ipaddress
import resource
import socket
import sys

from argosy.spec.errors import ArgosyError, Conflict, InvalidArgument, PermissionDenied


def take(host: str, port: int, setting: str = "") -> socket.socket:
    """A bound socket; port 0 takes a free one. `setting` is what the port is set by, such as `control.port`.

    Raises Conflict when something listens there, InvalidArgument for what is no port or no host of this machine.
    """
    if not 0 <= port <= 65535:
        raise InvalidArgument(f"{setting or 'the port'} must be 0 to 65535, not {port}")
    bound: socket.socket | None = None
    try:
        bound = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET, socket.SOCK_STREAM)
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        bound.bind((host, port))
    except OSError as error:
        if bound is not None:
            bound.close()
        raise _refused(host, port, setting, error) from None
    return bound


def loopback(host: str) -> bool:
    """Whether a host, as one listens on it or as a URL has it, is reached from this machine alone."""
    name = host.lower().removesuffix(".")
    if name == "localhost" or name.endswith(".localhost"):
        return True
    try:
        return ipaddress.ip_address(name.removeprefix("[").removesuffix("]")).is_loopback
    except ValueError:
        return False


def check_host(header: str, what: str) -> None:
    """Raises PermissionDenied for a request whose Host header does not name this machine by a loopback name: a web page
    can have its own name resolve to 127.0.0.1, but cannot have the browser send another one."""
    name, _, port = header.strip().rpartition(":")
    if not loopback(name if name and (not port or port.isdecimal()) else header.strip()):
        raise PermissionDenied(
            f"{what} listens on loopback and answers only to names such as localhost, 127.0.0.1 and [::1], "
            f"not to '{header[:80]}'"
        )


def open_many() -> None:
    """Have as many files open as the system lets us: each connection is one."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    with contextlib.suppress(OSError, ValueError):
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))


def open_files() -> int:
    """How many files this process may have open."""
    now, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return sys.maxsize if now == resource.RLIM_INFINITY else now


def _refused(host: str, port: int, setting: str, error: OSError) -> ArgosyError:
    section = setting.partition(".")[0]
    by = f" by the setting {setting} (ARGOSY_{setting.upper().replace('.', '_')}=0 takes a free one)" if setting else ""
    if error.errno == errno.EADDRINUSE:
        return Conflict(f"port {port} on {host} is in use: stop what listens there, or choose another{by}")
    where = f" (settings {section}.host, {setting})" if setting else ""
    return InvalidArgument(f"cannot listen on {host} port {port}{where}: {error.strerror or error}")
