"""What stands in front of an engine where it is reached over a network: an Envoy that takes callers of the platform
alone, by TLS, which engines lack, and passes bytes on to the engine's Unix socket. It knows nothing of HTTP."""

import contextlib
import os
import time
from pathlib import Path

import msgspec
import psutil

from argosy.process import launch, tail
from argosy.process.envoy import OWN, TRUSTED, Resource, extension, find, seconds, tls_context, tls_secrets
from argosy.process.process import spawn
from argosy.serving.listener import MOST_OF_GATEWAY
from argosy.serving.tls import HANDSHAKE
from argosy.spec.address import Address, TlsIdentity
from argosy.spec.errors import Internal

CALLERS = ("gateway", "activator", "controller")
"""Those of the platform that pass requests on to engines: the last one rows of batch jobs."""
ENGINE = "engine"
START = 20.0
"""Seconds that an Envoy has to listen."""
WORKERS = 2
FLUSH = 5.0
"""Seconds for the last bytes of answers, once the engine has ended."""


def _tls(identity: TlsIdentity, secrets: dict[str, str]) -> Resource:
    """The fields of a filter chain that shows the identity by these files."""
    platform = identity.name.split("/")[2]
    callers = [{"san_type": "URI", "matcher": {"exact": f"spiffe://{platform}/{who}"}} for who in CALLERS]
    tls = extension(
        "envoy.transport_sockets.tls",
        "transport_sockets.tls.v3.DownstreamTlsContext",
        require_client_certificate=True,
        disable_stateless_session_resumption=True,  # so that each connection is checked by today's certificates
        disable_stateful_session_resumption=True,
        common_tls_context=tls_context(callers, "http/1.1", secrets),
    )
    return {"transport_socket": tls, "transport_socket_connect_timeout": seconds(HANDSHAKE)}


def bootstrap(at: Address, engine: str, secrets: dict[str, str]) -> Resource:
    """What Envoy is started with: it listens `at`, to everybody where that has no identity, and connects to the socket
    `engine`; `secrets` are files by the names of `tls_secrets`. Pure."""
    # How long nothing may come, callers know.
    tcp = "filters.network.tcp_proxy.v3.TcpProxy"
    proxy = extension("envoy.filters.network.tcp_proxy", tcp, stat_prefix=ENGINE, cluster=ENGINE, idle_timeout="0s")
    chain = {"filters": [proxy], **(_tls(at.tls, secrets) if at.tls else {})}
    listener = {
        "name": ENGINE,
        "address": {"socket_address": {"address": at.host, "port_value": at.port}},
        "filter_chains": [chain],
        "enable_reuse_port": False,  # else two could have one port
    }
    host = {"endpoint": {"address": {"pipe": {"path": engine}}}}
    cluster = {
        "name": ENGINE,
        "type": "STATIC",
        "connect_timeout": "1s",
        "load_assignment": {"cluster_name": ENGINE, "endpoints": [{"lb_endpoints": [host]}]},
    }
    bound = extension(
        "envoy.resource_monitors.global_downstream_max_connections",
        "resource_monitors.downstream_connections.v3.DownstreamConnectionsConfig",
        max_active_downstream_connections=str(MOST_OF_GATEWAY),
    )
    return {
        "node": {"id": ENGINE, "cluster": "argosy"},
        "overload_manager": {"resource_monitors": [bound]},
        "static_resources": {"listeners": [listener], "clusters": [cluster]},
    }


class Front:
    """That Envoy as a child, which ends with the thread that started it. What it says is appended to `log`. Raises what
    `find` raises."""

    def __init__(self, at: Address, engine: str, log: Path, envoy: str = "") -> None:
        self._at, self._log = at, log
        self._log_start = log.stat().st_size if log.exists() else 0
        # The folder that the engine may write is the last resort: a volume of certificates cannot be written.
        folder = Path(at.tls.files if at.tls and os.access(at.tls.files, os.W_OK) else Path(engine).parent)
        files = {name: folder / f"{name}.sds.json" for name in (OWN, TRUSTED)}
        for name, content in tls_secrets(at.tls, "replica").items() if at.tls else ():
            files[name].write_bytes(msgspec.json.encode(content))
        settings = folder / "front.json"
        made = bootstrap(at, engine, {name: str(path) for name, path in files.items()})
        settings.write_bytes(msgspec.json.encode(made))
        command = [str(find(envoy)), "-c", str(settings), "--disable-hot-restart", "--log-level", "warning"]
        child = launch.ours(*command, "--concurrency", str(WORKERS), folder=folder, parent=os.getpid())
        self.process = spawn(child.command, child.environ, log, session=False)

    def wait(self) -> None:
        """Until it listens. Raises Internal where it does not."""
        deadline = time.monotonic() + START
        while not self._connections(psutil.CONN_LISTEN):
            if self.process.ended() or time.monotonic() > deadline:
                raise Internal(self.reason())
            time.sleep(0.05)

    def _connections(self, status: str) -> int:
        with contextlib.suppress(psutil.Error):
            found = psutil.Process(self.process.pid).net_connections("tcp")
            return sum(each.status == status and each.laddr[1] == self._at.port for each in found)
        return 0

    def reason(self) -> str:
        """Why nobody reaches the engine."""
        said = tail.last_words(self._log, self._log_start)
        return f"the Envoy in front of the engine does not listen at {self._at}{f': {said}' if said else ''}"

    def end(self) -> None:
        """End it once the last bytes of the engine, which has ended, have gone out."""
        deadline = time.monotonic() + FLUSH
        while time.monotonic() < deadline and self._connections(psutil.CONN_ESTABLISHED):
            time.sleep(0.05)
        self.process.terminate()
        self.process.end(2.0)
