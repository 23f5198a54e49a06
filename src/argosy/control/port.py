"""Whether a port can be had, and what to say if not."""

import errno
import socket

from argosy.spec.errors import ArgosyError, Conflict, InvalidArgument


def check_free(host: str, port: int, setting: str) -> None:
    """Raise Conflict when something listens there, InvalidArgument for what is no port or no host of this machine."""
    if not 0 <= port <= 65535:
        raise InvalidArgument(f"{setting} must be 0 to 65535, not {port}")
    try:
        with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET, socket.SOCK_STREAM) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind((host, port))
    except OSError as error:
        raise _refused(host, port, setting, error) from None


def _refused(host: str, port: int, setting: str, error: OSError) -> ArgosyError:
    variable = "ARGOSY_" + setting.upper().replace(".", "_")
    if error.errno == errno.EADDRINUSE:
        return Conflict(
            f"port {port} on {host} is in use: stop what listens there, or choose another by the setting {setting} "
            f"({variable}=0 takes a free one)"
        )
    section = setting.partition(".")[0]
    return InvalidArgument(
        f"cannot listen on {host} port {port} (settings {section}.host, {setting}): {error.strerror}"
    )
