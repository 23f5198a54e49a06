"""What may stand in a header, a path and a file name, and how long a socket's path may be."""

import ipaddress
import os
import re

from argosy.spec.address import Address
from argosy.spec.errors import InvalidArgument

SOCKET_PATH_BYTES = 107
"""What `sun_path` holds on Linux, less its closing zero byte."""

_TOKEN = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,127}")


def check_token(value: str, what: str) -> str:
    """Letters, digits, '.', '_' and '-', 1 to 128: safe in a header, a path and a file name."""
    if not _TOKEN.fullmatch(value):
        raise InvalidArgument(f"{what} '{value[:80]}' is not valid: use letters, digits, '.', '_' and '-'")
    return value


def check_socket(path: str, what: str) -> str:
    """Absolute, and short enough for the kernel."""
    if not os.path.isabs(path):
        raise InvalidArgument(f"{what} must have an absolute path, not '{path}'")
    size = len(os.fsencode(path))
    if size > SOCKET_PATH_BYTES:
        raise InvalidArgument(
            f"{what} would be {size} bytes long, and a Unix socket's path may have {SOCKET_PATH_BYTES}: "
            f"set ARGOSY_HOME to a shorter folder (now '{path}')"
        )
    return path


def check_address(address: Address, what: str) -> Address:
    """A path as `check_socket` has it, or an IP address and a port: the gateway resolves no names."""
    if address.path:
        check_socket(address.path, f"the socket of {what}")
        return address
    try:
        ipaddress.ip_address(address.host)
    except ValueError:
        raise InvalidArgument(f"the address of {what} must be an IP address, not '{address.host[:80]}'") from None
    if not address.port:
        raise InvalidArgument(f"the address of {what} has no port")
    return address
