"""Addresses for the pods and Services of one control plane.

EndpointSlices refuse loopback addresses. Where this process may, it makes an interface that ends with it, and routes a
network of its own to this machine by it: whoever comes second to a network is told that it is taken.
"""

import fcntl
import os
import random
import struct
import subprocess

FLAGS = 0x1001  # IFF_TUN | IFF_NO_PI
TUNSETIFF = 0x400454CA


class Network:
    """10.N.0.0/16, whose every address is one of this machine until `close` or the end of this process."""

    def __init__(self) -> None:
        self._device = os.open("/dev/net/tun", os.O_RDWR)
        try:
            made = fcntl.ioctl(self._device, TUNSETIFF, struct.pack("16sH22x", b"pods%d", FLAGS))
            name = made[:16].rstrip(b"\0").decode()
            _ip("link", "set", name, "up")
            numbers = random.Random(os.getpid()).sample(range(192, 248), 56)
            self.prefix = next(f"10.{number}" for number in numbers if _routed(f"10.{number}.0.0/16", name))
        except BaseException:
            os.close(self._device)
            raise

    @property
    def services(self) -> str:
        """The addresses of Services."""
        return f"{self.prefix}.0.0/20"

    @property
    def resolver(self) -> str:
        """The address of the server of names."""
        return f"{self.prefix}.0.10"

    def of_node(self, number: int) -> str:
        """The first three bytes of the addresses of the pods of a node."""
        return f"{self.prefix}.{16 + number % 240}"

    def close(self) -> None:
        """Remove the interface, and with it the route."""
        os.close(self._device)


def obtained() -> Network | None:
    """A network, where this process may have one and mounts for the processes of pods."""
    try:
        subprocess.run(["unshare", "--mount", "--propagation", "private", "true"], check=True, capture_output=True)
        return Network()
    except (OSError, subprocess.CalledProcessError) as error:
        print(f"no network for pods: {error}")
        return None


def _ip(*arguments: str) -> None:
    subprocess.run(["ip", *arguments], check=True, capture_output=True)


def _routed(network: str, device: str) -> bool:
    command = ["ip", "route", "add", "local", network, "dev", device]
    done = subprocess.run(command, check=False, capture_output=True, text=True)
    if done.returncode and "File exists" not in done.stderr:
        raise OSError(done.stderr)
    return done.returncode == 0
