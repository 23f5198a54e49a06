"""An update over a link of 1 Mbit/s that loses 5 % of all packets each way and is down for 5 seconds every 20.

    python -m prove.flaky --megabytes 6 --kills 1

The platform's routes answer on one end of a pair of virtual interfaces, a device fetches in a network namespace on the
other; it is killed besides, and started again. It needs root, `ip`, `tc`, `nft` and `ethtool`, and says so where one is
missing. The exit status is 1 unless the file is complete and at most 3 % of its bytes were sent by more than one
connection, heads of answers among them, as the packets on the link show. What TCP itself repeats, since the link loses
it, is no part of that: it is in what the link carried, which is printed, too.
"""

import argparse
import asyncio
import hashlib
import http.client
import os
import shutil
import socket
import struct
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import msgspec
import numpy as np
import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from argosy.api.transfers import DeviceTransfers
from argosy.edge.delta import hexed
from argosy.spec.settings import Home, Settings
from argosy.store import open_store
from argosy_edge.connection import SECONDS
from argosy_edge.fetch import Fetcher, Interrupted
from argosy_edge.wire import TransferPlan, UpdateFile
from tests.store.samples import FILES, model_manifest, write_folder

RATE, LOSS, UP, DOWN, AGAIN = "1mbit", 5, 20.0, 5.0, 0.03
TOOLS = ("ip", "tc", "nft", "ethtool")
NET, PORT = f"10.213.{os.getpid() % 250}", 8213
PATH = "weights/model.onnx"
EVERY = 3
"""ETH_P_ALL: what goes out, too."""


class Lacking(Exception):
    """What is needed and not there."""


class Link:
    """A pair of interfaces, one of them in a namespace of its own."""

    def __init__(self) -> None:
        self.name = f"argosy-{os.getpid()}"
        self.outer, self.inner = f"ao{os.getpid()}"[:15], f"ai{os.getpid()}"[:15]

    def make(self) -> None:
        """Raises Lacking where this machine does not let us."""
        inside = ("ip", "netns", "exec", self.name)
        shape = ("root", "tbf", "rate", RATE, "burst", "8kb", "latency", "300ms")
        run("ip", "netns", "add", self.name)
        run("ip", "link", "add", self.outer, "type", "veth", "peer", "name", self.inner, "netns", self.name)
        run("ip", "addr", "add", f"{NET}.1/24", "dev", self.outer)
        run(*inside, "ip", "addr", "add", f"{NET}.2/24", "dev", self.inner)
        run(*inside, "ip", "link", "set", self.inner, "up")
        run("ip", "link", "set", self.outer, "up")
        for before, end in (((), self.outer), (inside, self.inner)):
            run(*before, "ethtool", "-K", end, "tso", "off", "gso", "off", "gro", "off")
            run(*before, "tc", "qdisc", "add", "dev", end, *shape)
        lose = f"numgen random mod 100 < {LOSS} drop"
        chain = "add chain inet f {0} {{ type filter hook {0} priority 0; }}"
        for line in ("add table inet f", chain.format("input"), chain.format("output")):
            run(*inside, "nft", line)
        for hook, side in (("input", "iifname"), ("output", "oifname")):
            run(*inside, "nft", f"add rule inet f {hook} {side} {self.inner} {lose}")

    def set(self, state: str) -> None:
        """`up` or `down`."""
        run("ip", "link", "set", self.outer, state)

    def carried(self) -> int:
        """Bytes that went to the device."""
        return int(Path(f"/sys/class/net/{self.outer}/statistics/tx_bytes").read_text())

    def close(self) -> None:
        for words in (("link", "del", self.outer), ("netns", "del", self.name)):
            subprocess.run(["ip", *words], check=False, capture_output=True)


def run(*command: str) -> None:
    ran = subprocess.run(command, check=False, capture_output=True, text=True)
    if ran.returncode:
        raise Lacking(f"{' '.join(command)}: {ran.stderr.strip()[:200]}")


class Plain:
    """The platform over HTTP, by one connection for as long as it lasts."""

    def __init__(self, host: str) -> None:
        self.host = host
        self.connection: http.client.HTTPConnection | None = None

    def get(self, path: str, start: int, end: int) -> http.client.HTTPResponse:
        if self.connection is not None:
            self.connection.close()
        self.connection = http.client.HTTPConnection(self.host, PORT, timeout=SECONDS)
        try:
            self.connection.request("GET", f"/{path}", headers={"Range": f"bytes={start}-{end - 1}"})
            return self.connection.getresponse()
        except http.client.HTTPException as error:
            raise ConnectionError(str(error)) from error


def device(folder: Path, host: str) -> int:
    """The process of the device: fetch until it is done, whatever happens."""
    plan = msgspec.json.decode((folder / "plan.json").read_bytes(), type=TransferPlan)
    files = msgspec.json.decode((folder / "files.json").read_bytes(), type=list[UpdateFile])
    fetcher = Fetcher(Plain(host), folder / "parts")
    while True:
        try:
            fetcher.fetch(files, plan)
            break
        except Interrupted as error:
            print(f"  interrupted: {error.message}", flush=True)
            time.sleep(0.2)
    fetcher.assemble(files, folder / "slot")
    return 0


class Tap:
    """Reads every packet that goes to the device, and sums up how far each connection has come: what TCP repeats since
    the link lost it counts once, what a later connection sends again counts twice."""

    def __init__(self, interface: str) -> None:
        self.socket = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(EVERY))
        self.socket.bind((interface, EVERY))
        self.socket.settimeout(0.5)
        self.spans: dict[int, tuple[int, int]] = {}
        self.ended = False
        self.thread = threading.Thread(target=self._read)
        self.thread.start()

    def _read(self) -> None:
        while not self.ended:
            try:
                packet = self.socket.recv(65536)
            except OSError:  # nothing came, or the link is down
                continue
            if packet[12:14] != b"\x08\0" or packet[23] != socket.IPPROTO_TCP:
                continue
            start = 14 + (packet[14] & 15) * 4
            source, port, sequence = struct.unpack_from(">HHI", packet, start)
            size = int.from_bytes(packet[16:18], "big") + 14 - start - (packet[start + 12] >> 4) * 4
            if source == PORT and size > 0:
                first, far = self.spans.get(port, (sequence, 0))
                self.spans[port] = first, max(far, (sequence - first) % 2**32 + size)

    def close(self) -> None:
        self.ended = True
        self.thread.join()
        self.socket.close()

    @property
    def sent(self) -> int:
        """Bytes that all connections have sent, heads of answers among them."""
        return sum(far for _, far in self.spans.values())


@contextmanager
def platform(folder: Path, size: int) -> Iterator[tuple[TransferPlan, list[UpdateFile]]]:
    """The routes for blobs, and a package of about that size that does not compress."""
    store = open_store(Home(folder / "home"), Settings())
    weights = np.random.default_rng(os.getpid()).bytes(size)
    package = write_folder(folder / "package", FILES | {PATH: weights})
    digest = store.layout.put_folder(package, manifest=model_manifest())
    transfers = DeviceTransfers(store)

    async def blob(request: Request) -> Response:
        return await transfers.blob([digest], request.path_params["name"], request)

    routes = [Route("/blobs/{name}", blob)]
    server = uvicorn.Server(
        uvicorn.Config(Starlette(routes=routes), f"{NET}.1", PORT, log_level="critical", lifespan="off")
    )
    thread = threading.Thread(target=asyncio.run, args=(server.serve(),))
    try:
        plan = transfers.ways.plan(digest, seconds=600)
        thread.start()
        yield (
            plan,
            [UpdateFile(path=p, size=each.size, sha256=hexed(each)) for p, each in store.layout.files(digest).items()],
        )
    finally:
        server.should_exit = server.force_exit = True
        if thread.is_alive():
            thread.join()
        transfers.close()
        store.close()


def prove(folder: Path, size: int, kills: int, seconds: float) -> bool:
    """Whether it holds. Raises Lacking."""
    if lacking := [each for each in TOOLS if not shutil.which(each)]:
        raise Lacking(f"not installed: {', '.join(lacking)}")
    if os.geteuid():
        raise Lacking("network namespaces need root")
    link, ended = Link(), threading.Event()
    flapping = threading.Thread(target=_flap, args=(link, ended))
    try:
        link.make()
        with platform(folder, size) as (plan, files):
            (folder / "plan.json").write_bytes(msgspec.json.encode(plan))
            (folder / "files.json").write_bytes(msgspec.json.encode(files))
            payload = sum(ways[0].bytes for ways in plan.files.values())
            began = time.monotonic()
            tap = Tap(link.outer)
            flapping.start()
            try:
                done = _device(link, folder, kills, began, seconds)
            finally:
                tap.close()
            took, carried = time.monotonic() - began, link.carried()
            ended.set()
            flapping.join()
        whole = done and all(
            hashlib.sha256((folder / "slot" / each.path).read_bytes()).hexdigest() == each.sha256 for each in files
        )
        more = tap.sent / payload - 1
        goals = {
            f"complete: {payload:,} bytes in {took:.0f} s, by {len(tap.spans)} connections": whole,
            f"{more:.2%} of them were sent more than once": more <= AGAIN,
        }
        for goal, met in goals.items():
            print(f"{'met   ' if met else 'missed'}  {goal}")
        print(f"        the link carried {carried / payload - 1:+.1%}, with heads and what TCP repeats")
        return all(goals.values())
    finally:
        ended.set()
        if flapping.is_alive():
            flapping.join()
        link.close()


def _flap(link: Link, ended: threading.Event) -> None:
    while not ended.wait(UP):
        link.set("down")
        ended.wait(DOWN)
        link.set("up")


def _device(link: Link, folder: Path, kills: int, began: float, seconds: float) -> bool:
    """Run the device, killing it `kills` times. Whether it ended well in time."""
    command = [
        "ip",
        "netns",
        "exec",
        link.name,
        sys.executable,
        "-m",
        "prove.flaky",
        "--device",
        str(folder),
        f"{NET}.1",
    ]
    for kill in range(kills + 1):
        process = subprocess.Popen(command)  # `ip` becomes the command
        try:
            left = seconds - (time.monotonic() - began)
            return process.wait(7.0 * (kill + 1) if kill < kills else max(left, 0.0)) == 0
        except subprocess.TimeoutExpired:
            print("  killed", flush=True)
        finally:
            process.kill()
            process.wait()
    return False


def main() -> int:
    """0 where it holds, and where it cannot be tried."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--megabytes", type=float, default=6.0)
    parser.add_argument("--kills", type=int, default=1)
    parser.add_argument("--seconds", type=float, default=600.0, help="after which it is given up")
    parser.add_argument("--device", nargs=2, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.device:
        return device(Path(options.device[0]), options.device[1])
    with tempfile.TemporaryDirectory(prefix="pf") as folder:
        try:
            return 0 if prove(Path(folder), int(options.megabytes * 1e6), options.kills, options.seconds) else 1
        except Lacking as lacking:
            print(f"skipped: {lacking}")
            return 0


if __name__ == "__main__":
    sys.exit(main())
